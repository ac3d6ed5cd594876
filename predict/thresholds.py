"""Decisions from scores: a label is present where its score reaches its threshold."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from errors import BadInput

DEFAULT = 0.5
THRESHOLDS_NAME = "thresholds.json"
"""Of the file beside a run's checkpoints."""


@dataclass(frozen=True)
class Thresholds:
    """A threshold a label, float32 [n_labels], and where they come from."""

    values: np.ndarray
    source: str

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Boolean [n_clips, n_labels] from probabilities of that shape."""
        return scores >= self.values


def read_thresholds(path: Path, labels: list[str]) -> Thresholds:
    """The thresholds of `labels` from a run's thresholds.json, or 0.5 for each where it has none yet.

    Raises BadInput for a file that is no such table, or lacks a label.
    """
    if not path.exists():
        return Thresholds(np.full(len(labels), DEFAULT, np.float32), f"{DEFAULT} for every label")
    try:
        by_label = json.loads(path.read_text(encoding="utf-8"))["thresholds"]
        values = np.array([by_label[label] for label in labels], np.float32)
    except KeyError as error:
        raise BadInput(f"{path} has no {error}: it belongs to other labels, remove it") from None
    except (ValueError, TypeError) as error:
        raise BadInput(f"{path} is no table of thresholds ({error}): remove it") from None
    return Thresholds(values, f"{path}")
