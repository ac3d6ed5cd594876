"""Decisions from scores: a label is present where its score reaches its threshold, tuned on out-of-fold scores only."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import BadInput
from core.paths import CENTRE_NAME, THRESHOLDS_NAME
from predict.decide.calibration import read_temperature
from predict.decide.fitted_params import ALIKE, other_keys, read_fitted, write_fitted
from recipe import Prediction

DEFAULT = 0.5


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label, float32 [n_labels], and where they come from."""

    values: np.ndarray
    source: str

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Boolean [n_clips, n_labels] from probabilities of that shape."""
        return scores >= self.values


def centred(prediction: Prediction) -> Prediction:
    """The same windows, of which the one in the middle of a clip speaks for it."""
    return replace(prediction, pooling="centre")


def name_for(prediction: Prediction) -> str:
    """The file with the thresholds for these windows."""
    return CENTRE_NAME if prediction.pooling == "centre" else THRESHOLDS_NAME


def lowest_of_windows(thresholds: Thresholds, prediction: Prediction) -> np.ndarray:
    """From which score on a window has a label, [n_labels] or one for all."""
    if prediction.pooling == "share":  # thresholds are of shares of windows, which are above one threshold
        return np.nextafter(np.float32(prediction.window_threshold), np.float32(1))
    return thresholds.values


def read_thresholds(run_home: Path, labels: list[str], prediction: Prediction) -> Thresholds:
    """The thresholds of `labels` that were tuned for a run and these windows, or 0.5 for each.

    Raises BadInput for a file that is no such table, or lacks a label.
    """
    path, default = run_home / name_for(prediction), np.full(len(labels), DEFAULT, np.float32)
    content = _read(path)
    if content is None:
        return Thresholds(default, f"{DEFAULT} for every label")
    if changed := _changed(content, run_home, prediction):
        return Thresholds(default, f"{DEFAULT} for every label ({path} is for {changed}: run make tune)")
    values = [_share(path, content["thresholds"], label) for label in labels]
    return Thresholds(np.array(values, np.float32), str(path))


def with_tuned_windows(run_home: Path, prediction: Prediction) -> Prediction:
    """`prediction` with the window threshold that was tuned for a run together with its thresholds, if it was."""
    content = _read(run_home / THRESHOLDS_NAME)
    if content is None or prediction.pooling != "share" or _changed(content, run_home, prediction):
        return prediction
    theirs = {"window_threshold": prediction.window_threshold} | content.get("prediction", {})
    return replace(prediction, window_threshold=_share(run_home / THRESHOLDS_NAME, theirs, "window_threshold"))


def write_thresholds(
    run_home: Path, labels: list[str], values: np.ndarray, prediction: Prediction, tuned: dict[str, Any]
) -> Path:
    """Write a run's thresholds, what they were tuned for, and `tuned`: how, and what came of it."""
    by_label = dict(zip(labels, (float(value) for value in values), strict=True))
    content = {**tuned, "thresholds": by_label, "temperature": read_temperature(run_home, prediction)}
    path = run_home / name_for(prediction)
    write_fitted(path, content, prediction)
    return path


def _read(path: Path) -> dict[str, Any] | None:
    """A thresholds file, if there is one. Raises BadInput where it is none."""
    content = read_fitted(path, ("thresholds",), "make tune")
    if content and not isinstance(content["thresholds"], dict):
        raise BadInput(f"{path} is no table of thresholds: run make tune again, or remove it")
    return content


def _share(path: Path, numbers: dict[str, Any], key: str) -> float:
    """A number of a thresholds file. Raises BadInput where it is none from 0 to 1."""
    number = numbers.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise BadInput(f"{path} gives {key!r} {number!r} and no number from 0 to 1: run make tune again, or remove it")
    return float(number)


def _changed(content: dict[str, Any], run_home: Path, prediction: Prediction) -> str:
    """In what the scores that thresholds were tuned for are other than these, in words; '' if in nothing."""
    changed = other_keys(content, prediction, (*ALIKE, "window_threshold"))
    temperature = content.get("temperature", 1.0)
    if not changed and temperature != read_temperature(run_home, prediction):
        return f"a temperature of {temperature:.3f}"
    return changed
