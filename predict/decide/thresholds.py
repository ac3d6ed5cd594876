"""Decisions from scores: a label is present where its score reaches its threshold, tuned on out-of-fold scores only."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from core.errors import UserError
from core.paths import THRESHOLDS_NAME
from predict.decide.calibration import read_temperature
from predict.decide.fitted_params import changed_keys, read_fitted_params, write_fitted_params
from recipe import Prediction, as_dict

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label, float32 [n_labels], and where they come from."""

    values: np.ndarray
    source: str

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Boolean [n_clips, n_labels] from probabilities of that shape."""
        return scores >= self.values


def window_min_scores(thresholds: Thresholds, prediction: Prediction) -> np.ndarray:
    """The lowest score of a window that has a label, [n_labels] or one for all."""
    if prediction.pooling == "vote_fraction":  # thresholds are for shares of windows
        return np.nextafter(np.float32(prediction.window_threshold), np.float32(1))
    return thresholds.values


def read_thresholds(run_dir: Path, labels: list[str], prediction: Prediction) -> Thresholds:
    """The thresholds of `labels` that were tuned for a run and this prediction, or 0.5 for each.

    Raises UserError for a file that is no such table, or lacks a label.
    """
    content, source = _read_tuned(run_dir, prediction)
    if content is None:
        return Thresholds(np.full(len(labels), DEFAULT_THRESHOLD, np.float32), source)
    values = [_read_fraction(source, content["thresholds"], label) for label in labels]
    return Thresholds(np.array(values, np.float32), source)


def with_tuned_window_threshold(run_dir: Path, prediction: Prediction) -> Prediction:
    """`prediction` with the window threshold that was tuned for a run together with its thresholds, if it was."""
    content, source = _read_tuned(run_dir, prediction)
    if content is None or prediction.pooling != "vote_fraction":
        return prediction
    theirs = as_dict(prediction) | content["prediction"]
    return replace(prediction, window_threshold=_read_fraction(source, theirs, "window_threshold"))


def write_thresholds(
    run_dir: Path, labels: list[str], values: np.ndarray, prediction: Prediction, tuned: dict[str, Any]
) -> Path:
    """Write a run's thresholds, the keys they are for, and `tuned`: the metric and its values."""
    per_label = dict(zip(labels, map(float, values), strict=True))
    path, temperature = run_dir / THRESHOLDS_NAME, read_temperature(run_dir, prediction)
    content = {"thresholds": per_label, "temperature": temperature, "prediction": as_dict(prediction)}
    write_fitted_params(path, tuned | content)
    return path


def _read_tuned(run_dir: Path, prediction: Prediction) -> tuple[dict[str, Any] | None, str]:
    """The content of a run's thresholds file, if it is for `prediction`; where its thresholds come from, in words."""
    path, default = run_dir / THRESHOLDS_NAME, f"{DEFAULT_THRESHOLD} for every label"
    content = read_fitted_params(path, {"thresholds": dict}, "make tune")
    if content is None:
        return None, default
    # Dense scores are close to exact ones, and a run whose networks cannot predict densely predicts exactly.
    changed = changed_keys(content, prediction, "mode", "window_threshold")
    temperature = content.get("temperature", 1.0)
    if not changed and temperature != read_temperature(run_dir, prediction):
        changed = f"a temperature of {temperature:.3f}"
    return (None, f"{default} ({path} is for {changed}: run make tune)") if changed else (content, str(path))


def _read_fraction(path: str, numbers: dict[str, Any], key: str) -> float:
    """A number of a thresholds file. Raises UserError where it is none from 0 to 1."""
    number = numbers.get(key)
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number <= 1:
        raise UserError(f"{path} gives {key!r} {number!r} and no number from 0 to 1: run make tune again, or remove it")
    return float(number)
