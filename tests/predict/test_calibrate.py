"""make calibrate, by its command line: fitted out of fold, used where asked for, and by what comes after it."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from core.errors import BadInput
from predict import run, tune
from predict.calibrate import main
from predict.decide.thresholds import read_thresholds
from predict.inference.tagger import load_run
from recipe import Prediction, Training
from tests.predict.conftest import LABELS, Home

CALIBRATED = ["--prediction.calibrate", "true"]
PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25, calibrate=True)


def windows_of(home: Home) -> np.ndarray:
    """Scores [n_windows, n_labels] of the window table."""
    return pd.read_csv(home.places.submission("_windows.csv"))["score"].to_numpy().reshape(-1, len(LABELS))


def fitted(home: Home) -> Any:
    return json.loads((home.places.run_home / "calibration.json").read_text("utf-8"))


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_scores_of_windows_are_softened_by_what_was_fitted(
    home: Home, loss: str, capsys: pytest.CaptureFixture[str]
) -> None:
    training = replace(Training(), loss=loss)  # type: ignore[arg-type]
    for fold in (0, 1):
        home.write_network(fold, training=training)
    run.main(home.arguments)
    plain = windows_of(home)
    main(home.arguments)
    assert "6 out-of-fold clips, each fold at the temperature of the others" in capsys.readouterr().out
    temperature = fitted(home)["temperature"]
    assert fitted(home)["before"]["log_loss"] > 0
    run.main(home.arguments)
    np.testing.assert_array_equal(windows_of(home), plain)
    run.main([*home.arguments, *CALIBRATED])
    powers = plain ** (1 / temperature)
    others = powers.sum(axis=1, keepdims=True) if loss == "cross_entropy" else powers + (1 - plain) ** (1 / temperature)
    np.testing.assert_allclose(windows_of(home), powers / others, atol=1e-4)


@pytest.mark.parametrize("is_wrong", [False, True])
def test_temperatures_that_serve_other_folds_ill_are_told(
    home: Home, is_wrong: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    table = home.table.copy()
    networks = load_run(home.places.run_home, replace(PREDICTION, calibrate=False))
    for row, fold in enumerate(table["fold"].tolist()[:6]):
        scores = networks.tagger(fold).tag(home.frames(row)).scores
        table.loc[row, "labels"] = LABELS[int(scores.argmin() if is_wrong and fold else scores.argmax())]
    home.write_table(table)
    main(home.arguments)
    assert ("leave prediction.calibrate false" in capsys.readouterr().out) is is_wrong
    figures = fitted(home)
    assert (figures["after"]["log_loss"] > figures["before"]["log_loss"]) is is_wrong


def test_a_fold_has_no_say_in_its_own_temperature(home: Home) -> None:
    main(home.arguments)
    before = fitted(home)["temperature_by_fold"]
    table = home.table.copy()
    mine = (table["split"] == "train") & (table["fold"] == 0)
    table.loc[mine, "labels"] = [LABELS[2 - LABELS.index(label)] for label in table.loc[mine, "labels"]]
    home.write_table(table)
    main(home.arguments)
    after = fitted(home)["temperature_by_fold"]
    assert after["0"] == before["0"]
    assert after["1"] != before["1"]


def test_test_clips_have_no_say(home: Home) -> None:
    main(home.arguments)
    path = home.places.run_home / "calibration.json"
    before = path.read_bytes()
    home.give_test_labels(LABELS[1])
    main(home.arguments)
    assert path.read_bytes() == before


def test_thresholds_belong_to_a_temperature(home: Home) -> None:
    main(home.arguments)
    tune.main([*home.arguments, *CALIBRATED])
    assert read_thresholds(home.places.run_home, LABELS, PREDICTION).source.endswith("thresholds.json")
    assert (
        "prediction.calibrate"
        in read_thresholds(home.places.run_home, LABELS, replace(PREDICTION, calibrate=False)).source
    )
    path = home.places.run_home / "calibration.json"
    path.write_text(json.dumps(fitted(home) | {"temperature": 7.5}), encoding="utf-8")
    assert "temperature" in read_thresholds(home.places.run_home, LABELS, PREDICTION).source


def test_what_cannot_be_calibrated_says_what_to_do(home: Home) -> None:
    with pytest.raises(BadInput, match="run make calibrate first"):
        run.main([*home.arguments, *CALIBRATED])
    with pytest.raises(BadInput, match=r"prediction\.pooling = share"):
        main([*home.arguments, "--prediction.pooling", "share"])
