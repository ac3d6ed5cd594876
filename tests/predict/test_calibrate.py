"""make calibrate, by its command line: fitted out of fold, used where asked for, and by what comes after it."""

import json
import shutil
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from predict import run, tune
from predict.calibrate import main
from predict.decide.fitted_params import read_thresholds
from predict.inference.run_loader import load_run
from preprocess.dataset.labels import write_vocabulary
from recipe import Prediction, Training
from tests.predict.conftest import LABELS, TinyRun, predict_frames

CALIBRATED = ["--prediction.calibrate", "true"]
PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25, calibrate=True)


def windows_of(tiny_run: TinyRun) -> np.ndarray:
    """Scores [n_windows, n_labels] of the window table."""
    return pd.read_csv(tiny_run.run_paths.submission_dir / "windows.csv")["score"].to_numpy().reshape(-1, len(LABELS))


def fitted(tiny_run: TinyRun) -> Any:
    return json.loads((tiny_run.run_paths.run_dir / "calibration.json").read_text("utf-8"))


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_scores_of_windows_are_softened_by_what_was_fitted(
    tiny_run: TinyRun, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    training = replace(Training(), loss=loss)  # type: ignore[arg-type]
    for fold in (0, 1):
        tiny_run.write_network(fold, training=training)
    run.main(tiny_run.arguments)
    plain = windows_of(tiny_run)
    main(tiny_run.arguments)
    assert "6 out-of-fold clips, each fold at the temperature of the others" in capsys.readouterr().out
    temperature = fitted(tiny_run)["temperature"]
    assert fitted(tiny_run)["before"]["log_loss"] > 0
    run.main(tiny_run.arguments)
    np.testing.assert_array_equal(windows_of(tiny_run), plain)
    run.main([*tiny_run.arguments, *CALIBRATED])
    powers = plain ** (1 / temperature)
    others = powers.sum(axis=1, keepdims=True) if loss == "cross_entropy" else powers + (1 - plain) ** (1 / temperature)
    np.testing.assert_allclose(windows_of(tiny_run), powers / others, atol=1e-4)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_temperatures_that_serve_other_folds_ill_are_told(
    tiny_run: TinyRun, is_wrong: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    table = tiny_run.table.copy()
    networks = load_run(tiny_run.run_paths.run_dir, replace(PREDICTION, calibrate=False))
    for row, fold in enumerate(table["fold"].tolist()[:6]):
        scores = predict_frames(networks.tagger(fold), tiny_run.frames(row)).scores
        table.loc[row, "labels"] = LABELS[int(scores.argmin() if is_wrong and fold else scores.argmax())]
    tiny_run.write_table(table)
    main(tiny_run.arguments)
    assert ("leave prediction.calibrate false" in capsys.readouterr().out) is is_wrong
    metrics = fitted(tiny_run)
    assert (metrics["after"]["log_loss"] > metrics["before"]["log_loss"]) is is_wrong


def test_a_fold_has_no_say_in_its_own_temperature(tiny_run: TinyRun) -> None:
    main(tiny_run.arguments)
    before = fitted(tiny_run)["temperature_by_fold"]
    table = tiny_run.table.copy()
    mine = (table["split"] == "train") & (table["fold"] == 0)
    table.loc[mine, "labels"] = [LABELS[2 - LABELS.index(label)] for label in table.loc[mine, "labels"]]
    tiny_run.write_table(table)
    main(tiny_run.arguments)
    after = fitted(tiny_run)["temperature_by_fold"]
    assert after["0"] == before["0"]
    assert after["1"] != before["1"]


def test_test_clips_have_no_say(tiny_run: TinyRun) -> None:
    main(tiny_run.arguments)
    path = tiny_run.run_paths.run_dir / "calibration.json"
    before = path.read_bytes()
    tiny_run.set_test_labels(LABELS[1])
    main(tiny_run.arguments)
    assert path.read_bytes() == before


def test_thresholds_belong_to_a_temperature(tiny_run: TinyRun) -> None:
    main(tiny_run.arguments)
    tune.main([*tiny_run.arguments, *CALIBRATED])
    assert read_thresholds(tiny_run.run_paths.run_dir, LABELS, PREDICTION).source.endswith("thresholds.json")
    uncalibrated = read_thresholds(tiny_run.run_paths.run_dir, LABELS, replace(PREDICTION, calibrate=False))
    assert "prediction.calibrate" in uncalibrated.source
    path = tiny_run.run_paths.run_dir / "calibration.json"
    path.write_text(json.dumps(fitted(tiny_run) | {"temperature": 7.5}), encoding="utf-8")
    assert "temperature" in read_thresholds(tiny_run.run_paths.run_dir, LABELS, PREDICTION).source


def test_all_networks_together_and_those_of_a_fold_have_their_own_temperatures(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    main(tiny_run.arguments)
    printed, content = capsys.readouterr().out, fitted(tiny_run)
    assert f"temperature {content['fold_temperature']:.3f} of the networks of one fold" in printed
    assert f"temperature {content['temperature']:.3f} of all networks together, by 6 test clips" in printed
    assert content["temperature"] != content["fold_temperature"]
    trained = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    assert trained.tagger().temperature == content["temperature"]
    assert trained.tagger(0).temperature == trained.tagger(1).temperature == content["fold_temperature"]
    run.main([*tiny_run.arguments, *CALIBRATED])
    provenance = json.loads((tiny_run.run_paths.submission_dir / "provenance.json").read_text("utf-8"))
    assert provenance["temperature"] == content["temperature"]


def test_without_test_clips_all_networks_together_keep_their_scores(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_run.write_table(tiny_run.table[tiny_run.table["split"] == "train"])
    main(tiny_run.arguments)
    assert "temperature 1.000 of all networks together, as they are: fewer than 5 test" in capsys.readouterr().out
    assert fitted(tiny_run)["temperature"] == 1 != fitted(tiny_run)["fold_temperature"]


def test_test_clips_that_no_temperature_fits_are_not_called_too_few(
    tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]
) -> None:
    write_vocabulary(tiny_run.run_paths.labels_csv, LABELS[:1])
    tiny_run.write_table(tiny_run.table.assign(labels=LABELS[0]))
    for fold in (0, 1):
        tiny_run.write_network(fold, labels=LABELS[:1])
    main(tiny_run.arguments)
    expected = "temperature 1.000 of all networks together, as they are: no temperature makes them agree"
    assert expected in capsys.readouterr().out
    assert fitted(tiny_run)["temperature"] == 1 != fitted(tiny_run)["fold_temperature"]


def test_the_networks_of_the_only_fold_have_one_temperature(tiny_run: TinyRun) -> None:
    shutil.rmtree(tiny_run.run_paths.run_dir / "fold1")
    main(tiny_run.arguments)
    assert fitted(tiny_run)["temperature"] == fitted(tiny_run)["fold_temperature"] != 1


def test_what_cannot_be_calibrated_says_what_to_do(tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match="run make calibrate first"):
        run.main([*tiny_run.arguments, *CALIBRATED])
    with pytest.raises(UserError, match=r"prediction\.pooling = vote_fraction"):
        main([*tiny_run.arguments, "--prediction.pooling", "vote_fraction"])
