"""Parameters fitted on a run's out-of-fold scores, JSON files beside its checkpoints: thresholds, and a temperature."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any

import numpy as np

from core.errors import UserError
from core.files import atomic_write
from core.paths import CALIBRATION_NAME, THRESHOLDS_NAME
from recipe import Prediction, as_dict

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label, float32 [n_labels], and where they come from."""

    values: np.ndarray
    source: str

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Boolean [n_clips, n_labels] from probabilities of that shape: a label is present from its threshold on."""
        return scores >= self.values


def window_min_scores(thresholds: Thresholds, prediction: Prediction) -> np.ndarray:
    """The lowest score of a window that has a label, [n_labels] or one for all."""
    if prediction.pooling == "vote_fraction":  # thresholds are for shares of windows
        return np.nextafter(np.float32(prediction.window_threshold), np.float32(1))
    return thresholds.values


def read_params(path: Path, kinds: Mapping[str, type | UnionType], command: str) -> dict[str, Any] | None:
    """The content of a file, if there is one; its `prediction` is empty where a file written by hand has none.

    Raises UserError unless each key of `kinds` has a value of its kind; `command` writes the file again.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, dict):
            raise ValueError("it is no JSON object")
        content.setdefault("prediction", {})
        for key, kind in {**kinds, "prediction": dict}.items():
            if not isinstance(content.get(key), kind):
                raise ValueError(f"its {key} is {content.get(key)!r}")
        return content
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be used ({error}): run {command} again, or remove it") from None


def write_params(path: Path, content: Mapping[str, Any]) -> None:
    """Write a file as `read_params` reads it."""
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")


def changed_keys(content: dict[str, Any], prediction: Prediction, *ignored: str) -> str:
    """The keys of a file, but for `ignored` ones, whose values are not those of `prediction`, and these values."""
    theirs = content["prediction"]
    keys = [key for key, value in as_dict(prediction).items() if theirs.get(key, value) != value]
    return ", ".join(f"prediction.{key} {theirs[key]}" for key in keys if key not in ignored)


def read_temperature(run_dir: Path, prediction: Prediction) -> float:
    """The temperature for `prediction.calibrate`, else 1. Raises UserError where none was fitted for `prediction`."""
    if not prediction.calibrate:
        return 1.0
    path = run_dir / CALIBRATION_NAME
    content = read_params(path, {"temperature": int | float}, "make calibrate")
    if content is None:
        raise UserError(f"prediction.calibrate = true: {path} is not there; run make calibrate first")
    if changed := changed_keys(content, prediction, "mode", "calibrate", "window_threshold"):
        raise UserError(f"{path} is for {changed}: run make calibrate again")
    if not content["temperature"] > 0:
        raise UserError(f"{path} has the temperature {content['temperature']}: run make calibrate again")
    return float(content["temperature"])


def read_thresholds(run_dir: Path, labels: list[str], prediction: Prediction) -> Thresholds:
    """The thresholds that were tuned for a run and this prediction, or 0.5 for each label. Raises UserError."""
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
    write_params(path, tuned | content)
    return path


def _read_tuned(run_dir: Path, prediction: Prediction) -> tuple[dict[str, Any] | None, str]:
    """The content of a run's thresholds file, if it is for `prediction`; where its thresholds come from, in words."""
    path, default = run_dir / THRESHOLDS_NAME, f"{DEFAULT_THRESHOLD} for every label"
    content = read_params(path, {"thresholds": dict}, "make tune")
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
