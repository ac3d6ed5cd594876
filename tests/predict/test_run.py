"""make predict, by its command line: which clips, which networks, which files, and what it refuses."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput
from predict import score
from predict.inference.tagger import load_run
from predict.run import main
from recipe import Prediction
from tests.predict.conftest import FEATURES, LABELS, Home
from train.loop.epoch_log import EpochLog

ROOT = Path(__file__).parents[2]


def read(home: Home, suffix: str = ".csv") -> pd.DataFrame:
    return pd.read_csv(home.places.submission(suffix), keep_default_na=False)


def test_test_clips_of_every_length_are_scored_through_the_command(home: Home) -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "predict.run", *home.arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
    test = home.table[home.table["split"] == "test"]
    submission, windows, decided = read(home), read(home, "_windows.csv"), read(home, "_labels.csv")
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
    assert not home.places.submission("_failed.csv").exists()
    assert all(
        str(home.places.submission(suffix)) in ended.stdout for suffix in (".csv", "_windows.csv", "_labels.csv")
    )


def test_the_middle_window_alone_is_written_beside_sliding_windows(home: Home) -> None:
    main(home.arguments)
    centre, windows = read(home, "_centre.csv"), read(home, "_windows.csv")
    assert centre["clip"].tolist() == read(home)["clip"].tolist()
    longest = windows[(windows["clip"] == centre["clip"].iloc[-1]) & (windows["start_s"] == 0.75)]
    np.testing.assert_allclose(centre[LABELS].iloc[-1].astype(float), longest["score"], atol=1e-6)
    main([*home.arguments, "--prediction.pooling", "centre"])
    np.testing.assert_allclose(read(home)[LABELS], centre[LABELS], atol=1e-6)
    assert not home.places.submission("_centre.csv").exists()


def test_the_middle_window_is_one_of_the_copies_too(home: Home) -> None:
    home.write_store(louder_db=[6.0, -9.0])
    main(home.arguments)
    of_recordings = read(home, "_centre.csv")
    main([*home.arguments, "--prediction.view_copies", "true"])
    centre = read(home, "_centre.csv")
    main([*home.arguments, "--prediction.view_copies", "true", "--prediction.pooling", "centre"])
    np.testing.assert_allclose(centre[LABELS], read(home)[LABELS], atol=1e-6)
    assert not np.allclose(centre[LABELS], of_recordings[LABELS], atol=1e-3)


def test_networks_whose_training_was_interrupted_answer_but_are_named(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    n_epochs = load_run(home.places.run_home, Prediction()).recipe.training.epochs
    for fold, done in ((0, n_epochs), (1, n_epochs - 1)):
        log = EpochLog(home.places.run_home / f"fold{fold}")
        for epoch in range(1, done + 1):
            log.add({"epoch": epoch, "train_loss": 0.5})
    main(home.arguments)
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "epochs" in line]
    assert "fold1" in line
    assert f"{n_epochs - 1} epochs of {n_epochs}" in line


def test_without_test_clips_each_fold_is_scored_by_the_networks_that_never_saw_it(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    home.write_table(home.table[home.table["split"] == "train"])
    main(home.arguments)
    assert "never saw" in capsys.readouterr().out
    submission = read(home)
    assert len(submission) == 6
    run = load_run(home.places.run_home, Prediction(window_seconds=0.5, hop_seconds=0.25))
    for index, fold in enumerate([0, 1, 0, 1, 0, 1]):
        answer = run.tagger(fold).tag(home.frames(index))
        np.testing.assert_allclose(submission.loc[index, LABELS].astype(float), answer.scores, atol=1e-6)


def test_seconds_trimmed_off_the_start_are_added_to_times(home: Home) -> None:
    home.write_store(start_s=0.05)
    main(home.arguments)
    windows = read(home, "_windows.csv")
    last = windows[windows["clip"] == home.table["clip"].iloc[-1]]
    assert (last["start_s"].min(), last["end_s"].max()) == (0.05, 2.0)


def test_thresholds_of_the_run_decide(home: Home) -> None:
    values = ", ".join(f'"{label}": {value}' for label, value in zip(LABELS, (0.0, 1.0, 0.0), strict=True))
    (home.places.run_home / "thresholds.json").write_text(f'{{"thresholds": {{{values}}}}}', encoding="utf-8")
    main(home.arguments)
    assert set(read(home, "_labels.csv")["labels"]) == {f"{LABELS[0]};{LABELS[2]}"}


def test_an_unreadable_clip_is_left_out_and_listed(home: Home) -> None:
    lost = home.table["clip"].iloc[7]
    home.write_store(unreadable=[lost])
    main(home.arguments)
    assert lost not in set(read(home)["clip"])
    assert read(home, "_failed.csv")["clip"].tolist() == [lost]
    home.write_store()
    main(home.arguments)
    assert not home.places.submission("_failed.csv").exists()


def test_an_unreadable_clip_of_the_sample_gets_the_mean_and_a_warning(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    test = home.table.loc[home.table["split"] == "test", "clip"].tolist()[::-1]
    pd.DataFrame({"fname": test} | dict.fromkeys(LABELS[::-1], 0)).to_csv(home.places.sample_csv, index=False)
    home.write_store(unreadable=[test[2]])
    main(home.arguments)
    submission = read(home)
    assert submission.columns.tolist() == ["fname", *LABELS[::-1]]
    assert submission["fname"].tolist() == test
    scores = submission[LABELS].to_numpy()
    np.testing.assert_allclose(scores[2], np.delete(scores, 2, axis=0).mean(axis=0), atol=1e-6)
    said = capsys.readouterr()
    assert any("warning" in line and test[2] in line for line in said.err.splitlines())
    assert test[2] not in set(read(home, "_labels.csv")["clip"])
    centre = read(home, "_centre.csv")
    assert (centre.columns.tolist(), centre["fname"].tolist()) == (submission.columns.tolist(), test)
    truth = home.places.submissions / "truth.csv"
    pd.DataFrame({"fname": test, "labels": LABELS[0]}).to_csv(truth, index=False)
    capsys.readouterr()
    score.main([*home.arguments, "--truth", str(truth)])
    assert capsys.readouterr().out.count("6 of 6 clips") == 2


def test_the_same_command_writes_the_same_bytes(home: Home) -> None:
    main(home.arguments)
    suffixes = (".csv", "_windows.csv", "_labels.csv")
    first = [home.places.submission(suffix).read_bytes() for suffix in suffixes]
    main(home.arguments)
    assert first == [home.places.submission(suffix).read_bytes() for suffix in suffixes]


def test_detections_are_sought_for_exports_alone(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def unwanted(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("predict.run.detect", unwanted)
    main([*home.arguments, "--merge"])
    assert "--merge does nothing without --export" in capsys.readouterr().err
    with pytest.raises(AssertionError):
        main([*home.arguments, "--merge", "--export", "json"])
    assert "--merge" not in capsys.readouterr().err


def test_a_page_of_an_earlier_prediction_goes(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    main(home.arguments)
    assert "warning" not in capsys.readouterr().err
    home.places.submission(".html").touch()
    main(home.arguments)
    assert not home.places.submission(".html").exists()


def refused(home: Home, *more: str) -> str:
    with pytest.raises(BadInput) as caught:
        main([*home.arguments, *more])
    assert not home.places.submissions.exists()
    return str(caught.value)


def test_what_is_missing_is_named_with_what_to_run(home: Home) -> None:
    assert "make train" in refused(home, "--run", "other")
    home.places.store.unlink()
    message = refused(home)
    assert "features.h5" in message
    assert "make features" in message


def test_a_store_of_other_features_is_refused(home: Home) -> None:
    for fold in (0, 1):
        home.write_network(fold, features=replace(FEATURES, fmax_hz=3_000.0))
    message = refused(home)
    assert "fmax_hz" in message
    assert "features.h5" in message


def test_a_clip_that_the_store_lacks_is_named(home: Home) -> None:
    lost = home.table["clip"].iloc[8]
    home.write_store(unreadable=[lost])
    home.places.failed_csv.unlink()
    message = refused(home)
    assert lost in message
    assert "make features" in message


def test_no_readable_clip_at_all_is_refused(home: Home) -> None:
    home.write_store(unreadable=home.table.loc[home.table["split"] == "test", "clip"].tolist())
    assert "failed.csv" in refused(home)
