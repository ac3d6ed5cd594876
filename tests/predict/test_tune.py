"""make tune, by its command line: thresholds from out-of-fold scores, and who uses them."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from core.errors import UserError
from predict import calibrate, export, run, score
from predict.decide.fitted_params import read_thresholds
from predict.decide.threshold_search import search_with_window_threshold
from predict.inference.oof_predictions import OofPredictions
from predict.inference.run_loader import load_run
from predict.inference.tagger import ClipPrediction
from predict.tune import main, pool_at_thresholds, tune_and_write
from preprocess.dataset.clip_table import read_clip_table
from recipe import Network, Prediction, Tuning
from report import inspect
from tests.predict.conftest import LABELS, TinyRun, skip_onnx
from train.runs.checkpoint import load_checkpoint, save_checkpoint
from train.runs.seen_clips import hash_frames

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)


def test_thresholds_are_tuned_on_training_clips_and_decide_test_clips(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*tiny_run.arguments, "--metric", "f1_macro", "--per_label"])
    printed = capsys.readouterr().out
    assert "f1_macro on 6 out-of-fold clips" in printed
    content = json.loads((tiny_run.run_paths.run_dir / "thresholds.json").read_text(encoding="utf-8"))
    assert content["tuned"] >= content["default"]
    assert list(content["thresholds"]) == LABELS
    run.main(tiny_run.arguments)
    assert "thresholds.json" in capsys.readouterr().out
    scores = pd.read_csv(tiny_run.run_paths.submission_csv)[LABELS].to_numpy()
    decided = pd.read_csv(tiny_run.run_paths.submission_dir / "labels.csv", keep_default_na=False)["labels"]
    expected = scores >= np.array(list(content["thresholds"].values()), np.float32)
    assert decided.tolist() == [";".join(np.array(LABELS)[row]) for row in expected]


def test_test_clips_have_no_say(tiny_run: TinyRun) -> None:
    main(tiny_run.arguments)
    path = tiny_run.run_paths.run_dir / "thresholds.json"
    before = path.read_bytes()
    tiny_run.set_test_labels(LABELS[1])
    main(tiny_run.arguments)
    assert path.read_bytes() == before


def test_noisy_labels_have_no_say(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    table = tiny_run.table.copy()
    table.loc[:1, "label_quality"] = "noisy"
    tiny_run.write_table(table)
    main(tiny_run.arguments)
    assert "on 4 out-of-fold clips" in capsys.readouterr().out


def test_the_recipe_says_how_and_options_say_otherwise(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    by_recipe = ["--tuning.metric", "hamming", "--tuning.per_label", "true", "--tuning.mixtures", "4"]
    main([*tiny_run.arguments, *by_recipe])
    assert "hamming on 4 mixtures" in capsys.readouterr().out
    content = json.loads((tiny_run.run_paths.run_dir / "thresholds.json").read_text(encoding="utf-8"))
    assert content["metric"] == "hamming" and content["per_label"]
    main([*tiny_run.arguments, *by_recipe, "--metric", "f1_micro", "--mixtures", "0"])
    assert "f1_micro on 6 out-of-fold clips" in capsys.readouterr().out


def test_the_middle_window_is_tuned_by_the_same_command(tiny_run: TinyRun) -> None:
    main([*tiny_run.arguments, "--mixtures", "6", "--prediction.pooling", "center"])
    for prediction, is_tuned in ((replace(PREDICTION, pooling="center"), True), (PREDICTION, False)):
        source = read_thresholds(tiny_run.run_paths.run_dir, LABELS, prediction).source
        assert source.endswith("thresholds.json") is is_tuned
        assert ("thresholds.json is for prediction.pooling center: run make tune" in source) is not is_tuned


def test_window_threshold_and_share_are_tuned_together_and_used(tiny_run: TinyRun) -> None:
    vote_fraction = ["--prediction.pooling", "vote_fraction"]
    main([*tiny_run.arguments, *vote_fraction])
    content = json.loads((tiny_run.run_paths.run_dir / "thresholds.json").read_text(encoding="utf-8"))
    tuned = content["prediction"]["window_threshold"]
    run.main([*tiny_run.arguments, *vote_fraction, "--export", "json"])
    exported = json.loads((tiny_run.run_paths.submission_dir / "detections.json").read_text(encoding="utf-8"))
    found = [one["score"] for clip in exported["clips"] for one in clip["detections"]]
    windows = pd.read_csv(tiny_run.run_paths.submission_dir / "windows.csv")
    fractions = (windows["score"] > tuned).groupby([windows["clip"], windows["label"]]).mean()
    assert sorted(found) == pytest.approx(sorted(windows["score"][windows["score"] > tuned]), abs=1e-6)
    submission = pd.read_csv(tiny_run.run_paths.submission_csv)
    means = windows["score"].groupby([windows["clip"], windows["label"]]).mean()
    scores = 0.999 * fractions + 0.001 * means
    expected = [[scores[clip, label] for label in LABELS] for clip in submission["clip"]]
    np.testing.assert_allclose(submission[LABELS].to_numpy(), expected, atol=1e-6)


def test_no_window_threshold_is_tried_but_the_one_given() -> None:
    windows = np.array([[0.2], [0.9]], np.float32)
    clip_prediction = ClipPrediction(np.arange(2.0), np.arange(1.0, 3.0), windows, windows.mean(0), 9.0)
    oof = OofPredictions([clip_prediction], np.ones((1, 1), np.float32), np.zeros(1, np.int64), "sigmoid", "a clip")
    prediction = Prediction(pooling="vote_fraction", window_threshold=0.195)
    ((window_threshold, scores),) = pool_at_thresholds(oof, prediction).items()
    assert window_threshold == 0.195
    np.testing.assert_allclose(scores, [[0.999 + 0.001 * 0.55]], rtol=1e-6)


def test_no_threshold_gives_a_label_for_which_no_window_votes() -> None:
    """The first clip's label sounds softly and gets no vote: a threshold of means would find it."""
    windows = np.array([[[0.39], [0.39]], [[0.1], [0.1]], [[0.9], [0.9]]], np.float32)
    times = np.arange(2.0), np.arange(1.0, 3.0)
    predictions = [ClipPrediction(*times, clip, clip.mean(0), 9.0) for clip in windows]
    truth = np.array([[1], [0], [1]], np.float32)
    oof = OofPredictions(predictions, truth, np.zeros(3, np.int64), "sigmoid", "clips")
    scores_at = pool_at_thresholds(oof, Prediction(pooling="vote_fraction", window_threshold=0.5))
    assert scores_at[0.5].tolist()[:2] == [[-1.0], [-1.0]]
    _, thresholds = search_with_window_threshold(scores_at, truth, "f1_micro", per_label=False)
    assert 1e-3 < thresholds[0] < 0.9


def test_a_threshold_that_is_written_spares_clips_without_votes(tiny_run: TinyRun) -> None:
    """More clips vote than thresholds are tried, so that the best of these lies below all votes."""
    votes = np.stack([np.linspace(0.6, 0.9, 1200), np.full(1200, 0.1)], axis=1).astype(np.float32)
    windows = [*votes[:, :, None], *np.full((2, 2, 1), 0.1, np.float32)]
    times = np.arange(2.0), np.arange(1.0, 3.0)
    predictions = [ClipPrediction(*times, clip, clip.mean(0), 9.0) for clip in windows]
    truth = np.array([[1]] * 1201 + [[0]], np.float32)
    oof = OofPredictions(predictions, truth, np.zeros(len(truth), np.int64), "sigmoid", "clips")
    prediction = replace(PREDICTION, pooling="vote_fraction", window_threshold=0.5)
    trained = replace(load_run(tiny_run.run_paths.run_dir, prediction), labels=["voted"])
    tune_and_write(tiny_run.run_paths.run_dir, trained, oof, Tuning(metric="hamming"))
    decide = read_thresholds(tiny_run.run_paths.run_dir, ["voted"], prediction).decide
    assert decide(oof.pool_scores(prediction))[:, 0].tolist() == [True] * 1200 + [False] * 2


def test_a_window_threshold_that_is_given_comes_before_the_tuned_one(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    votes = [*tiny_run.arguments, "--prediction.pooling", "vote_fraction"]
    main(votes)
    path, folder = tiny_run.run_paths.run_dir / "thresholds.json", tiny_run.run_paths.submission_dir
    tuned = json.loads(path.read_text(encoding="utf-8"))["prediction"]["window_threshold"]
    given = 0.5 if tuned != 0.5 else 0.4
    for options, in_force in (([], tuned), (["--prediction.window_threshold", str(given)], given)):
        capsys.readouterr()
        run.main([*votes, *options])
        (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("labels decided at")]
        is_tuned = in_force == tuned
        assert (f"({path} is for prediction.window_threshold {tuned}: run make tune)" in line) is not is_tuned
        provenance = json.loads((folder / "provenance.json").read_text(encoding="utf-8"))
        assert provenance["prediction"]["window_threshold"] == in_force
        by_default = [pytest.approx(0.4995, abs=1e-6)] * len(LABELS)
        assert (list(provenance["thresholds"].values()) == by_default) is not is_tuned
        windows = pd.read_csv(folder / "windows.csv")
        fractions = (windows["score"] > in_force).groupby([windows["clip"], windows["label"]]).mean()
        submission = pd.read_csv(folder / "submission.csv").melt("clip", var_name="label").set_index(["clip", "label"])
        assert (submission["value"] - fractions).abs().max() < 1.1e-3
        tiny_run.set_test_labels("low")
        score.main([*votes, *options])
        assert "warning" not in capsys.readouterr().err
    score.main(votes)
    assert f"was predicted with prediction.window_threshold {given}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("pooling", "key", "other"),
    [("center", "threshold", "vote_threshold"), ("vote_fraction", "vote_threshold", "threshold")],
)
def test_a_threshold_that_is_given_decides_before_tuned_ones(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str], pooling: str, key: str, other: str
) -> None:
    arguments = [*tiny_run.arguments, "--prediction.pooling", pooling]
    fixed = [*arguments, f"--prediction.{key}", "0.26", f"--prediction.{other}", "0.99"]
    tiny_run.set_test_labels("low")
    for is_tuned in (False, True):
        if is_tuned:
            main(arguments)
        run.main(fixed)
        printed = capsys.readouterr().out
        path = tiny_run.run_paths.run_dir / "thresholds.json"
        assert f"labels decided at 0.26 by prediction.{key}{f', not {path}' if is_tuned else ''}: " in printed
        table = pd.read_csv(tiny_run.run_paths.submission_csv, index_col=0)
        decided = pd.read_csv(tiny_run.run_paths.submission_dir / "labels.csv", keep_default_na=False)["labels"]
        expected = [";".join(label for label in LABELS if row[label] >= 0.26) for _, row in table.iterrows()]
        assert decided.tolist() == expected
        provenance = json.loads((tiny_run.run_paths.submission_dir / "provenance.json").read_text(encoding="utf-8"))
        assert list(provenance["thresholds"].values()) == pytest.approx([0.26] * len(LABELS), rel=2e-3)
        score.main(fixed)
        captured = capsys.readouterr()
        assert f"decisions at 0.26 by prediction.{key}" in captured.out and "warning" not in captured.err


def test_windows_and_votes_decide_as_an_earlier_instrument_recogniser_did(tiny_run: TinyRun) -> None:
    votes = "--prediction.pooling vote_fraction --prediction.window_threshold 0.51 --prediction.vote_threshold 0.5"
    run.main([*tiny_run.arguments, *votes.split()])
    windows = pd.read_csv(tiny_run.run_paths.submission_dir / "windows.csv")
    fractions = (windows["score"] > 0.51).groupby([windows["clip"], windows["label"]]).mean().unstack()[LABELS]
    decided = pd.read_csv(tiny_run.run_paths.submission_dir / "labels.csv", keep_default_na=False)
    expected = [";".join(label for label in LABELS if fractions.loc[clip, label] >= 0.5) for clip in decided["clip"]]
    assert decided["labels"].tolist() == expected


def test_networks_that_cannot_share_windows_have_the_same_thresholds_everywhere(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    skip_onnx(monkeypatch)
    for fold in (0, 1):
        tiny_run.write_network(fold, network=Network(modulation_units=4))
    tiny_run.set_test_labels("low")
    dense = [*tiny_run.arguments, "--prediction.mode", "dense"]
    calibrate.main(dense)
    for options in (["--prediction.calibrate", "true"], ["--prediction.pooling", "vote_fraction"]):
        main([*dense, *options])
        content = json.loads((tiny_run.run_paths.run_dir / "thresholds.json").read_text(encoding="utf-8"))
        assert content["prediction"]["mode"] == "exact"
        for script in (run, score, inspect, export):
            capsys.readouterr()
            script.main([*dense, *options])
            printed = capsys.readouterr().out
            assert script is export or str(tiny_run.run_paths.run_dir / "thresholds.json") in printed
        assert (tiny_run.run_paths.model_dir / "thresholds.json").exists()
    main([*dense, *options, "--prediction.window_threshold", "0.42"])
    export.main([*dense, *options])
    recipe = yaml.safe_load((tiny_run.run_paths.model_dir / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["prediction"]["window_threshold"] == 0.42


def test_thresholds_of_other_windows_are_not_used(tiny_run: TinyRun) -> None:
    main([*tiny_run.arguments, "--prediction.pooling", "max"])
    thresholds = read_thresholds(tiny_run.run_paths.run_dir, LABELS, PREDICTION)
    assert thresholds.values.tolist() == [0.5] * 3
    assert "prediction.pooling max" in thresholds.source


def test_one_window_clips_are_told_and_mixtures_are_longer(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    vote_fraction = ["--prediction.pooling", "vote_fraction", "--prediction.window_seconds", "1.0"]
    main([*tiny_run.arguments, *vote_fraction])
    assert "--mixtures" in capsys.readouterr().err
    main([*tiny_run.arguments, *vote_fraction, "--mixtures", "4"])
    captured = capsys.readouterr()
    assert "on 4 mixtures of out-of-fold clips" in captured.out
    assert "warning" not in captured.err
    path = tiny_run.run_paths.run_dir / "thresholds.json"
    before = path.read_bytes()
    main([*tiny_run.arguments, *vote_fraction, "--mixtures", "4"])
    assert path.read_bytes() == before


def test_with_one_fold_nothing_is_said_of_other_clips(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(tiny_run.run_paths.run_dir / "fold1")
    main(tiny_run.arguments)
    assert "these clips are of one fold: there is no estimate" in capsys.readouterr().out
    content = json.loads((tiny_run.run_paths.run_dir / "thresholds.json").read_text(encoding="utf-8"))
    assert "tuned_on_other_folds" not in content


def test_a_fold_of_which_nothing_could_be_read_is_left_out(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = tiny_run.table.set_index("clip")["fold"]
    tiny_run.write_store(unreadable=list(folds.index[folds == 1]))
    main([*tiny_run.arguments, "--mixtures", "4"])
    assert "4 mixtures" in capsys.readouterr().out
    quality = ["curated"] * 2 + ["noisy"] * 4 + ["curated"] * 6
    for n_unreadable, which in ((6, ""), (2, "with checked labels ")):
        tiny_run.write_table(tiny_run.table.assign(label_quality=quality))
        tiny_run.write_store(unreadable=list(folds.index[:n_unreadable]))
        for command in (main, calibrate.main):
            for options in ([], ["--mixtures", "4"]):
                match = rf"no training clip {which}that could be read is in the run's folds \[0, 1\]"
                with pytest.raises(UserError, match=match):
                    command([*tiny_run.arguments, *options])


@pytest.mark.parametrize("command", [main, calibrate.main])
def test_a_copy_with_unchecked_labels_in_another_fold_is_let_pass_as_predict_does(
    tiny_run: TinyRun, command: Callable[[list[str]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(tiny_run.table["path"].iloc[0], tiny_run.table["path"].iloc[3])
    tiny_run.write_store()
    tiny_run.write_table(tiny_run.table.assign(label_quality=["curated"] * 3 + ["noisy"] + ["curated"] * 8))
    table = read_clip_table(tiny_run.run_paths.clips_csv)
    assert table["frames_digest"].iloc[0] == table["frames_digest"].iloc[3]
    for fold in (0, 1):
        path, rows = tiny_run.run_paths.run_dir / f"fold{fold}" / "best.pt", table[table["fold"] == 1 - fold]
        hashes = hash_frames(rows["clip"], rows["frames_digest"])
        save_checkpoint(path, replace(load_checkpoint(path), seen_clips=hashes[:, 0], trained_frames=hashes))
    command(tiny_run.arguments)
    assert "5 out-of-fold clips" in capsys.readouterr().out
    table.loc[[3, 5], "fold"] = 0, 0  # which leaves no clip of that name, or of those frames, in another fold
    tiny_run.write_table(table)
    with pytest.raises(UserError, match="is in fold 0 now, whose networks were trained on it"):
        command(tiny_run.arguments)
