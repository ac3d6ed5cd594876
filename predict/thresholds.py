"""Decisions from scores: a label is present where its score reaches its threshold, tuned on out-of-fold scores only."""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from errors import BadInput
from preprocess.whole import written_whole
from recipe import Prediction, as_dict

DEFAULT = 0.5
THRESHOLDS_NAME, CENTRE_NAME = "thresholds.json", "thresholds_centre.json"
"""Of the files beside a run's checkpoints: for a clip's windows, and for the one in its middle alone."""


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


def read_thresholds(run_home: Path, labels: list[str], prediction: Prediction) -> Thresholds:
    """The thresholds of `labels` that were tuned for a run and these windows, or 0.5 for each.

    Raises BadInput for a file that is no such table, or lacks a label.
    """
    path, default = run_home / name_for(prediction), np.full(len(labels), DEFAULT, np.float32)
    content = _read(path)
    if content is None:
        return Thresholds(default, f"{DEFAULT} for every label")
    if changed := _differing(content, prediction):
        return Thresholds(default, f"{DEFAULT} for every label ({path} is for {changed}: run make tune)")
    try:
        values = np.array([content["thresholds"][label] for label in labels], np.float32)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path} has no threshold for {error}: run make tune again, or remove it") from None
    return Thresholds(values, str(path))


def with_tuned_windows(run_home: Path, prediction: Prediction) -> Prediction:
    """`prediction` with the window threshold that was tuned for a run together with its thresholds, if it was."""
    content = _read(run_home / THRESHOLDS_NAME)
    if content is None or prediction.pooling != "share" or _differing(content, prediction):
        return prediction
    return replace(prediction, window_threshold=float(content["prediction"]["window_threshold"]))


def write_thresholds(
    run_home: Path, labels: list[str], values: np.ndarray, prediction: Prediction, tuned: dict[str, Any]
) -> Path:
    """Write a run's thresholds, what they were tuned for, and `tuned`: how, and what came of it."""
    by_label = dict(zip(labels, (round(float(value), 6) for value in values), strict=True))
    content = {**tuned, "thresholds": by_label, "prediction": as_dict(prediction)}
    path = run_home / name_for(prediction)
    with written_whole(path) as temporary:
        temporary.write_text(json.dumps(content, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    return path


def _read(path: Path) -> dict[str, Any] | None:
    """A thresholds file, if there is one. Raises BadInput where it is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and isinstance(content.get("thresholds"), dict):
            return content
        raise ValueError("it has no thresholds")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} is no table of thresholds ({error}): run make tune again, or remove it") from None


def _differing(content: dict[str, Any], prediction: Prediction) -> str:
    """The keys in which the windows that thresholds were tuned for are other than these, with their values."""
    theirs = content.get("prediction", {})
    keys = [key for key, value in as_dict(prediction).items() if theirs.get(key, value) != value]
    return ", ".join(f"prediction.{key} {theirs[key]}" for key in keys if key != "window_threshold")
