"""Decisions from scores: a label is present where its score reaches its threshold, tuned on out-of-fold scores only."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.paths import CENTER_THRESHOLDS_NAME, THRESHOLDS_NAME
from predict.decide.calibration import read_temperature
from predict.decide.fitted_params import IRRELEVANT_KEYS, changed_keys, read_fitted_params, write_fitted_params
from recipe import Prediction

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label, float32 [n_labels], and where they come from."""

    values: np.ndarray
    source: str

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Boolean [n_clips, n_labels] from probabilities of that shape."""
        return scores >= self.values


def with_center_pooling(prediction: Prediction) -> Prediction:
    """The same windows, of which the one in the middle of a clip speaks for it."""
    return replace(prediction, pooling="center")


def thresholds_filename(prediction: Prediction) -> str:
    """The file with the thresholds for these windows."""
    return CENTER_THRESHOLDS_NAME if prediction.pooling == "center" else THRESHOLDS_NAME


def window_min_scores(thresholds: Thresholds, prediction: Prediction) -> np.ndarray:
    """From which score on a window has a label, [n_labels] or one for all."""
    if prediction.pooling == "vote_fraction":  # thresholds are of shares of windows, which are above one threshold
        return np.nextafter(np.float32(prediction.window_threshold), np.float32(1))
    return thresholds.values


def read_thresholds(run_dir: Path, labels: list[str], prediction: Prediction) -> Thresholds:
    """The thresholds of `labels` that were tuned for a run and these windows, or 0.5 for each.

    Raises UserError for a file that is no such table, or lacks a label.
    """
    path, default = run_dir / thresholds_filename(prediction), np.full(len(labels), DEFAULT_THRESHOLD, np.float32)
    content = _read(path)
    if content is None:
        return Thresholds(default, f"{DEFAULT_THRESHOLD} for every label")
    if changed := _why_stale(content, run_dir, prediction):
        return Thresholds(default, f"{DEFAULT_THRESHOLD} for every label ({path} is for {changed}: run make tune)")
    values = [_read_fraction(path, content["thresholds"], label) for label in labels]
    return Thresholds(np.array(values, np.float32), str(path))


def with_tuned_window_threshold(run_dir: Path, prediction: Prediction) -> Prediction:
    """`prediction` with the window threshold that was tuned for a run together with its thresholds, if it was."""
    content = _read(run_dir / THRESHOLDS_NAME)
    if content is None or prediction.pooling != "vote_fraction" or _why_stale(content, run_dir, prediction):
        return prediction
    theirs = {"window_threshold": prediction.window_threshold} | content.get("prediction", {})
    return replace(prediction, window_threshold=_read_fraction(run_dir / THRESHOLDS_NAME, theirs, "window_threshold"))


def write_thresholds(
    run_dir: Path, labels: list[str], values: np.ndarray, prediction: Prediction, tuned: dict[str, Any]
) -> Path:
    """Write a run's thresholds, what they were tuned for, and `tuned`: how, and what came of it."""
    per_label = dict(zip(labels, (float(value) for value in values), strict=True))
    content = {**tuned, "thresholds": per_label, "temperature": read_temperature(run_dir, prediction)}
    path = run_dir / thresholds_filename(prediction)
    write_fitted_params(path, content, prediction)
    return path


def _read(path: Path) -> dict[str, Any] | None:
    """A thresholds file, if there is one. Raises UserError where it is none."""
    content = read_fitted_params(path, ("thresholds",), "make tune")
    if content and not isinstance(content["thresholds"], dict):
        raise UserError(f"{path} is no table of thresholds: run make tune again, or remove it")
    return content


def _read_fraction(path: Path, numbers: dict[str, Any], key: str) -> float:
    """A number of a thresholds file. Raises UserError where it is none from 0 to 1."""
    number = numbers.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise UserError(f"{path} gives {key!r} {number!r} and no number from 0 to 1: run make tune again, or remove it")
    return float(number)


def _why_stale(content: dict[str, Any], run_dir: Path, prediction: Prediction) -> str:
    """In what the scores that thresholds were tuned for are other than these, in words; '' if in nothing."""
    changed = changed_keys(content, prediction, (*IRRELEVANT_KEYS, "window_threshold"))
    temperature = content.get("temperature", 1.0)
    if not changed and temperature != read_temperature(run_dir, prediction):
        return f"a temperature of {temperature:.3f}"
    return changed
