"""make tune, by its command line: thresholds from out-of-fold scores, and who uses them."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import yaml

from core.errors import BadInput
from predict import calibrate, export, run, score
from predict.decide.thresholds import read_thresholds
from predict.inference.oof_predictions import HeldOut
from predict.inference.tagger import Answer
from predict.tune import main, pool
from recipe import Network, Prediction
from report import inspect
from tests.predict.conftest import LABELS, Home

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)


def test_thresholds_are_tuned_on_training_clips_and_decide_test_clips(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    main([*home.arguments, "--metric", "f1_macro", "--per_label"])
    printed = capsys.readouterr().out
    assert "f1_macro on 6 out-of-fold clips" in printed
    content = json.loads((home.places.run_home / "thresholds.json").read_text(encoding="utf-8"))
    assert content["tuned"] >= content["default"]
    assert list(content["thresholds"]) == LABELS
    run.main(home.arguments)
    assert "thresholds.json" in capsys.readouterr().out
    scores = pd.read_csv(home.places.submission())[LABELS].to_numpy()
    decided = pd.read_csv(home.places.submission("_labels.csv"), keep_default_na=False)["labels"]
    expected = scores >= np.array(list(content["thresholds"].values()), np.float32)
    assert decided.tolist() == [";".join(np.array(LABELS)[row]) for row in expected]


def test_test_clips_have_no_say(home: Home) -> None:
    main(home.arguments)
    path = home.places.run_home / "thresholds.json"
    before = path.read_bytes()
    home.give_test_labels(LABELS[1])
    main(home.arguments)
    assert path.read_bytes() == before


def test_noisy_labels_have_no_say(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    table = home.table.copy()
    table.loc[:1, "trust"] = "noisy"
    home.write_table(table)
    main(home.arguments)
    assert "on 4 out-of-fold clips" in capsys.readouterr().out


def test_the_recipe_says_how_and_options_say_otherwise(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    by_recipe = ["--tuning.metric", "hamming", "--tuning.per_label", "true", "--tuning.mixtures", "4"]
    main([*home.arguments, *by_recipe])
    assert "hamming on 4 mixtures" in capsys.readouterr().out
    content = json.loads((home.places.run_home / "thresholds.json").read_text(encoding="utf-8"))
    assert content["metric"] == "hamming" and content["per_label"]
    main([*home.arguments, *by_recipe, "--metric", "f1_micro", "--mixtures", "0"])
    assert "f1_micro on 6 out-of-fold clips" in capsys.readouterr().out


def test_the_middle_window_has_thresholds_of_its_own(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    main([*home.arguments, "--mixtures", "6", "--prediction.pooling", "share"])
    assert "without sliding windows" in capsys.readouterr().out
    centre = replace(PREDICTION, pooling="centre")
    thresholds = read_thresholds(home.places.run_home, LABELS, centre)
    assert thresholds.source.endswith("thresholds_centre.json")
    content = json.loads((home.places.run_home / "thresholds.json").read_text(encoding="utf-8"))
    assert content["prediction"]["pooling"] == "share"


def test_window_threshold_and_share_are_tuned_together_and_used(home: Home) -> None:
    share = ["--prediction.pooling", "share"]
    main([*home.arguments, *share])
    content = json.loads((home.places.run_home / "thresholds.json").read_text(encoding="utf-8"))
    tuned = content["prediction"]["window_threshold"]
    run.main([*home.arguments, *share, "--export", "json"])
    exported = json.loads(home.places.submission(".json").read_text(encoding="utf-8"))
    found = [one["score"] for clip in exported["clips"] for one in clip["detections"]]
    windows = pd.read_csv(home.places.submission("_windows.csv"))
    shares = (windows["score"] > tuned).groupby([windows["clip"], windows["label"]]).mean()
    assert sorted(found) == pytest.approx(sorted(windows["score"][windows["score"] > tuned]), abs=1e-6)
    submission = pd.read_csv(home.places.submission())
    expected = [[shares[clip, label] for label in LABELS] for clip in submission["clip"]]
    np.testing.assert_allclose(submission[LABELS].to_numpy(), expected, atol=1e-6)


def test_the_window_threshold_asked_for_is_tried_too() -> None:
    windows = np.array([[0.2], [0.9]], np.float32)
    answer = Answer(np.arange(2.0), np.arange(1.0, 3.0), windows, windows.mean(0))
    held_out = HeldOut([answer], np.ones((1, 1), np.float32), np.zeros(1, np.int64), "sigmoid", "a clip")
    assert pool(held_out, Prediction(pooling="share", window_threshold=0.195))[0.195].tolist() == [[1.0]]


def test_networks_that_cannot_share_windows_have_the_same_thresholds_everywhere(
    home: Home, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(export, "write_onnx", lambda path, run: path.write_bytes(b"onnx"))
    for fold in (0, 1):
        home.write_network(fold, network=Network(modulation_units=4))
    home.give_test_labels("low")
    dense = [*home.arguments, "--prediction.mode", "dense"]
    calibrate.main(dense)
    for way in (["--prediction.calibrate", "true"], ["--prediction.pooling", "share"]):
        main([*dense, *way])
        content = json.loads((home.places.run_home / "thresholds.json").read_text(encoding="utf-8"))
        assert content["prediction"]["mode"] == "exact"
        for script in (run, score, inspect, export):
            capsys.readouterr()
            script.main([*dense, *way])
            printed = capsys.readouterr().out
            assert script is export or str(home.places.run_home / "thresholds.json") in printed
        assert (home.places.submission("_model") / "thresholds.json").exists()
    recipe = yaml.safe_load((home.places.submission("_model") / "recipe.yaml").read_text(encoding="utf-8"))
    assert recipe["prediction"]["window_threshold"] == content["prediction"]["window_threshold"] != 0.5


def test_thresholds_of_other_windows_are_not_used(home: Home) -> None:
    main([*home.arguments, "--prediction.pooling", "max"])
    thresholds = read_thresholds(home.places.run_home, LABELS, PREDICTION)
    assert thresholds.values.tolist() == [0.5] * 3
    assert "prediction.pooling max" in thresholds.source


def test_one_window_clips_are_told_and_mixtures_are_longer(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    share = ["--prediction.pooling", "share", "--prediction.window_seconds", "1.0"]
    main([*home.arguments, *share])
    assert "--mixtures" in capsys.readouterr().err
    main([*home.arguments, *share, "--mixtures", "4"])
    captured = capsys.readouterr()
    assert "on 4 mixtures of out-of-fold clips" in captured.out
    assert "warning" not in captured.err
    path = home.places.run_home / "thresholds.json"
    before = path.read_bytes()
    main([*home.arguments, *share, "--mixtures", "4"])
    assert path.read_bytes() == before


def test_with_one_fold_nothing_is_said_of_other_clips(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(home.places.run_home / "fold1")
    main(home.arguments)
    assert "only one fold is trained" in capsys.readouterr().out
    content = json.loads((home.places.run_home / "thresholds.json").read_text(encoding="utf-8"))
    assert "tuned_on_other_folds" not in content


def test_mixtures_leave_out_a_fold_of_which_nothing_could_be_read(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    folds = home.table.set_index("clip")["fold"]
    home.write_store(unreadable=list(folds.index[folds == 1]))
    main([*home.arguments, "--mixtures", "4"])
    assert "4 mixtures" in capsys.readouterr().out
    home.write_store(unreadable=list(folds.index[folds >= 0]))
    with pytest.raises(BadInput, match="no curated training clip"):
        main([*home.arguments, "--mixtures", "4"])
