"""make predict, by its command line: which clips, which networks, which files, and what it refuses."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from predict import calibrate, export, score, tune
from predict.inference.run_loader import load_run
from predict.run import main
from preprocess.dataset.labels import write_vocabulary
from recipe import Prediction
from recipe.cli import parse_command
from serve.run import add_options as serve_options
from serve.run import build_service
from tests.predict.conftest import FEATURES, LABELS, TinyRun, predict_frames
from train.loop.epoch_log import EpochLog
from train.runs.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parents[2]


def read(tiny_run: TinyRun, name: str = "submission.csv") -> pd.DataFrame:
    return pd.read_csv(tiny_run.run_paths.submission_dir / name, keep_default_na=False)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_test_clips_of_every_length_are_scored(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    main(tiny_run.arguments)
    printed = capsys.readouterr().out
    test = tiny_run.table[tiny_run.table["split"] == "test"]
    submission, windows, decided = read(tiny_run), read(tiny_run, "windows.csv"), read(tiny_run, "labels.csv")
    assert submission.columns.tolist() == ["clip", *LABELS]
    assert submission["clip"].tolist() == decided["clip"].tolist() == test["clip"].tolist()
    assert windows.groupby("clip", sort=False)["start_s"].nunique().tolist() == [1, 1, 2, 2, 5, 8]
    longest = [float(windows.loc[windows["clip"] == clip, "end_s"].max()) for clip in test["clip"]]
    assert longest == [0.1, 0.487, 0.5, 0.512, 1.3, 2.0]
    means = windows.groupby(["clip", "label"])["score"].mean()
    for _, row in submission.iterrows():
        np.testing.assert_allclose(
            [means[row["clip"], label] for label in LABELS], row[LABELS].astype(float), atol=1e-6
        )
    above = [";".join(label for label in LABELS if row[label] >= 0.5) for _, row in submission.iterrows()]
    assert decided["labels"].tolist() == above
    written = ["submission.csv", "windows.csv", "labels.csv"]
    assert sorted(files_in(tiny_run.run_paths.submission_dir)) == sorted([*written, "provenance.json"])
    assert all(str(tiny_run.run_paths.submission_dir / name) in printed for name in written)


def test_center_pooling_gives_the_middle_window(tiny_run: TinyRun) -> None:
    main([*tiny_run.arguments, "--prediction.pooling", "center"])
    center, windows = read(tiny_run), read(tiny_run, "windows.csv")
    longest = windows[(windows["clip"] == center["clip"].iloc[-1]) & (windows["start_s"] == 0.75)]
    np.testing.assert_allclose(center[LABELS].iloc[-1].astype(float), longest["score"], atol=1e-6)


def test_networks_whose_training_was_interrupted_answer_but_are_named(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    n_epochs = load_run(tiny_run.run_paths.run_dir, Prediction()).recipe.training.epochs
    for fold, done in ((0, n_epochs), (1, n_epochs - 1)):
        log = EpochLog(tiny_run.run_paths.run_dir / f"fold{fold}")
        for epoch in range(1, done + 1):
            log.add({"epoch": epoch, "train_loss": 0.5})
    main(tiny_run.arguments)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "epochs" in line]
    assert "fold1" in line
    assert f"{n_epochs - 1} of {n_epochs} epochs" in line


def test_without_test_clips_each_fold_is_scored_by_the_networks_that_never_saw_it(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_run.write_table(tiny_run.table[tiny_run.table["split"] == "train"])
    main(tiny_run.arguments)
    assert "were not trained on its fold" in capsys.readouterr().out
    submission = read(tiny_run)
    assert len(submission) == 6
    run = load_run(tiny_run.run_paths.run_dir, Prediction(window_seconds=0.5, hop_seconds=0.25))
    for index, fold in enumerate([0, 1, 0, 1, 0, 1]):
        clip_prediction = predict_frames(run.tagger(fold), tiny_run.frames(index))
        np.testing.assert_allclose(submission.loc[index, LABELS].astype(float), clip_prediction.scores, atol=1e-6)


def test_seconds_trimmed_off_the_start_are_added_to_times(tiny_run: TinyRun) -> None:
    tiny_run.write_store(start_s=0.05)
    main(tiny_run.arguments)
    windows = read(tiny_run, "windows.csv")
    last = windows[windows["clip"] == tiny_run.table["clip"].iloc[-1]]
    assert (last["start_s"].min(), last["end_s"].max()) == (0.05, 2.0)


def test_clips_of_folds_without_a_network_are_counted(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run.write_table(tiny_run.table[tiny_run.table["split"] == "train"])
    shutil.rmtree(tiny_run.run_paths.run_dir / "fold1")
    main(tiny_run.arguments)
    line = "no test clips: 3 training clips, .*; 3 of folds 1, which have no network, are left out\n"
    assert re.match(line, capsys.readouterr().out)


def test_thresholds_of_the_run_decide(tiny_run: TinyRun) -> None:
    values = ", ".join(f'"{label}": {value}' for label, value in zip(LABELS, (0.0, 1.0, 0.0), strict=True))
    (tiny_run.run_paths.run_dir / "thresholds.json").write_text(f'{{"thresholds": {{{values}}}}}', encoding="utf-8")
    main(tiny_run.arguments)
    assert set(read(tiny_run, "labels.csv")["labels"]) == {f"{LABELS[0]};{LABELS[2]}"}


def test_an_unreadable_clip_is_left_out_and_listed(tiny_run: TinyRun) -> None:
    lost = tiny_run.table["clip"].iloc[7]
    tiny_run.write_store(unreadable=[lost])
    main(tiny_run.arguments)
    assert lost not in set(read(tiny_run)["clip"])
    assert read(tiny_run, "failed.csv")["clip"].tolist() == [lost]
    tiny_run.write_store()
    main(tiny_run.arguments)
    assert not (tiny_run.run_paths.submission_dir / "failed.csv").exists()


def test_an_unreadable_clip_of_the_sample_gets_the_mean_and_a_warning(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    test = tiny_run.table.loc[tiny_run.table["split"] == "test", "clip"].tolist()[::-1]
    pd.DataFrame({"fname": test} | dict.fromkeys(LABELS[::-1], 0)).to_csv(tiny_run.run_paths.sample_csv, index=False)
    tiny_run.write_store(unreadable=[test[2]])
    main(tiny_run.arguments)
    submission = read(tiny_run)
    assert submission.columns.tolist() == ["fname", *LABELS[::-1]]
    assert submission["fname"].tolist() == test
    scores = submission[LABELS].to_numpy()
    np.testing.assert_allclose(scores[2], np.delete(scores, 2, axis=0).mean(axis=0), atol=1e-6)
    captured = capsys.readouterr()
    assert any("warning" in line and test[2] in line for line in captured.err.splitlines())
    assert test[2] not in set(read(tiny_run, "labels.csv")["clip"])
    truth = tiny_run.run_paths.cache / "truth.csv"
    pd.DataFrame({"fname": test, "labels": LABELS[0]}).to_csv(truth, index=False)
    capsys.readouterr()
    score.main([*tiny_run.arguments, "--truth", str(truth)])
    assert capsys.readouterr().out.count("6 of 6 clips") == 1


def test_the_same_command_writes_the_same_bytes(tiny_run: TinyRun) -> None:
    main(tiny_run.arguments)
    first = files_in(tiny_run.run_paths.submission_dir)
    main(tiny_run.arguments)
    assert files_in(tiny_run.run_paths.submission_dir) == first


def test_files_are_replaced_together_or_not_at_all(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    main(tiny_run.arguments)
    folder = tiny_run.run_paths.submission_dir
    (folder / "report.html").touch()
    before = files_in(folder)

    def fail(*_: object) -> None:
        raise OSError("no space left on device")

    for step in ("write_submission", "detect", "write_provenance"):
        with monkeypatch.context() as patch, pytest.raises(OSError, match="no space"):
            patch.setattr(f"predict.run.{step}", fail)
            main([*tiny_run.arguments, "--prediction.pooling", "max", "--export", "json"])
        assert files_in(folder) == before
        assert not list(folder.glob(".new*"))


def test_exports_that_someone_has_worked_on_are_kept(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    folder, export = tiny_run.run_paths.submission_dir, ["--min_score", "0", "--export", "kaleidoscope"]
    main([*tiny_run.arguments, *export, "raven"])
    main([*tiny_run.arguments, "--prediction.pooling", "max"])
    main([*tiny_run.arguments, *export, "raven", "--merge"])  # which replace others, that nobody has changed
    assert "changed since" not in capsys.readouterr().err
    table, selections = folder / "kaleidoscope.csv", min(folder.rglob("*.selections.txt"))
    before = files_in(folder)
    for path in (table, selections):
        path.write_text(f"mine, {path.name}")
    for more in ([], ["raven"], ["raven"]):
        main([*tiny_run.arguments, *export, *more, "--merge"])
        kept = sorted(path.read_text() for path in folder.rglob("*.edited"))
        assert kept == sorted(f"mine, {path.name}" for path in (table, selections)[: 1 + len(more)])
    (warning, other) = [line for line in capsys.readouterr().err.splitlines() if "changed since" in line]
    assert re.search(r"1 exports were .* kept, the first as .*tiny/kaleidoscope\.csv\.\w{16}\.edited$", warning)
    assert f"{selections}." in other
    assert {name: text for name, text in files_in(folder).items() if not name.endswith(".edited")} == before
    (folder / "provenance.json").unlink()  # whose absence, as of an earlier version, says nothing of exports
    main([*tiny_run.arguments, *export])
    assert len(list(folder.glob("kaleidoscope.csv.*.edited"))) == 2


def test_what_would_be_refused_in_the_end_is_refused_before_scoring(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("predict.run.predict_stored_clips", unwanted)
    test = tiny_run.table.loc[tiny_run.table["split"] == "test", "clip"].tolist()
    sample, thresholds = tiny_run.run_paths.sample_csv, tiny_run.run_paths.run_dir / "thresholds.json"
    for clips, labels, message in ((test, LABELS[1:], "label 'low'"), (test[1:], LABELS, f"clip {test[0]!r}")):
        pd.DataFrame({"fname": clips} | dict.fromkeys(labels, 0)).to_csv(sample, index=False)
        assert f"{message} is not in" in refusal_message(tiny_run)
    sample.unlink()
    thresholds.write_text('{"thresholds": {"low": 0.5}}')
    assert "thresholds.json gives" in refusal_message(tiny_run)


def change_weight(tiny_run: TinyRun, name: str, value: float) -> None:
    """Give a weight of fold 1's network another value."""
    path = tiny_run.run_paths.run_dir / "fold1" / "best.pt"
    checkpoint = load_checkpoint(path)
    checkpoint.network[name].flatten()[0] = value
    save_checkpoint(path, checkpoint)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused_by_every_step(tiny_run: TinyRun, value: float) -> None:
    main(tiny_run.arguments)
    change_weight(tiny_run, "head.2.bias", value)
    before = files_in(tiny_run.run_paths.cache) | files_in(tiny_run.run_paths.submissions)
    for step in (main, tune.main, calibrate.main, export.main):
        with pytest.raises(UserError, match=r"fold1/best\.pt .*head\.2\.bias has numbers that are not finite.*train"):
            step(tiny_run.arguments)
    with pytest.raises(UserError, match="not finite"):
        build_service(parse_command([*tiny_run.arguments, "--device", "cpu"], "", serve_options))
    assert files_in(tiny_run.run_paths.cache) | files_in(tiny_run.run_paths.submissions) == before


def test_scores_that_are_not_finite_are_refused_before_anything_is_written(tiny_run: TinyRun) -> None:
    change_weight(tiny_run, "trunk.0.1.running_var", -1.0)  # whose square root is none
    assert "make train" in refusal_message(tiny_run)
    before = files_in(tiny_run.run_paths.cache)
    for step in (tune.main, calibrate.main):
        with pytest.raises(UserError, match="no finite number, and none is used"):
            step(tiny_run.arguments)
    assert files_in(tiny_run.run_paths.cache) == before


def test_detections_are_sought_for_exports_alone(
    tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("predict.run.detect", unwanted)
    main([*tiny_run.arguments, "--merge"])
    assert "--merge does nothing without --export" in capsys.readouterr().err
    with pytest.raises(AssertionError):
        main([*tiny_run.arguments, "--merge", "--export", "json"])
    assert "--merge" not in capsys.readouterr().err


def test_a_page_of_an_earlier_prediction_goes(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    main(tiny_run.arguments)
    assert "warning" not in capsys.readouterr().err
    (tiny_run.run_paths.submission_dir / "report.html").touch()
    main(tiny_run.arguments)
    assert not (tiny_run.run_paths.submission_dir / "report.html").exists()


def refusal_message(tiny_run: TinyRun, *more: str) -> str:
    with pytest.raises(UserError) as caught:
        main([*tiny_run.arguments, *more])
    assert not tiny_run.run_paths.submissions.exists()
    return str(caught.value)


def test_what_is_missing_is_named_with_what_to_run(tiny_run: TinyRun) -> None:
    assert "make train" in refusal_message(tiny_run, "--run", "other")
    tiny_run.run_paths.store.unlink()
    message = refusal_message(tiny_run)
    assert "features.h5" in message
    assert "make features" in message


def test_labels_that_the_networks_do_not_know_are_told(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run.set_test_labels("new")
    write_vocabulary(tiny_run.run_paths.labels_csv, [*LABELS, "new"])
    main(tiny_run.arguments)
    assert "label 'new' is new, the networks give it no score (one of 1): run make train" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"label 'new'.*run make train again"):
        score.main(tiny_run.arguments)
    tiny_run.write_table(tiny_run.table.assign(labels="new"))
    main(tiny_run.arguments)
    for step in (score, tune, calibrate):
        with pytest.raises(UserError, match=r"label 'new'.*run make train again"):
            step.main(tiny_run.arguments)


def test_a_store_of_other_features_is_refused(tiny_run: TinyRun) -> None:
    for fold in (0, 1):
        tiny_run.write_network(fold, features=replace(FEATURES, fmax_hz=3_000.0))
    message = refusal_message(tiny_run)
    assert "fmax_hz" in message
    assert "features.h5" in message


def test_a_clip_that_the_store_lacks_is_named(tiny_run: TinyRun) -> None:
    lost = tiny_run.table["clip"].iloc[8]
    tiny_run.write_store(unreadable=[lost])
    tiny_run.run_paths.failed_csv.unlink()
    message = refusal_message(tiny_run)
    assert lost in message
    assert "make features" in message


def test_no_readable_clip_at_all_is_refused(tiny_run: TinyRun) -> None:
    tiny_run.write_store(unreadable=tiny_run.table.loc[tiny_run.table["split"] == "test", "clip"].tolist())
    assert "failed.csv" in refusal_message(tiny_run)
