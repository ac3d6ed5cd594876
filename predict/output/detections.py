"""Detections: which labels lie where in a recording, chosen from the scores of its windows."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from predict.inference.tagger import ClipPrediction

TIME_RESOLUTION_S = 1e-3
"""What times are written to."""


@dataclass(frozen=True)
class Detection:
    """A label from `start_s` to `end_s`, at its windows' highest score."""

    start_s: float
    end_s: float
    label: str
    score: float

    def rounded(self) -> Self:
        """Times to the millisecond, the score to a millionth: what is written."""
        return replace(self, start_s=round(self.start_s, 3), end_s=round(self.end_s, 3), score=round(self.score, 6))


@dataclass(frozen=True)
class DetectionFilter:
    """Which of a window's labels are shown: those of at least a score, and of them the highest."""

    min_scores: np.ndarray
    """[n_labels], or one for all."""
    top_labels: int | None = None
    merge: bool = False
    """Consecutive windows of a label become one detection."""

    def select(self, windows: np.ndarray) -> np.ndarray:
        """Boolean, of scores [n_windows, n_labels]."""
        selected = windows >= self.min_scores
        if self.top_labels is not None:
            rank = np.argsort(np.argsort(-windows, axis=1, kind="stable"), axis=1)
            selected &= rank < self.top_labels
        return selected


def has_duration(clip_prediction: ClipPrediction) -> np.ndarray:
    """Which windows have a length in the recording, boolean [n_windows]: some lie in silence put around it.

    They have a say in a clip's scores, but are nowhere. All of them where none has a length.
    """
    some = clip_prediction.end_s - clip_prediction.start_s >= TIME_RESOLUTION_S
    return some | ~some.any()


def detect(clip_prediction: ClipPrediction, labels: list[str], filters: DetectionFilter) -> list[Detection]:
    """A clip's detections, by start, then by label."""
    selected = filters.select(clip_prediction.windows) & has_duration(clip_prediction)[:, None]
    detections = []
    for column, label in enumerate(labels):
        for first, last in _consecutive_runs(clip_prediction, selected[:, column], filters.merge):
            score = float(clip_prediction.windows[first : last + 1, column].max())
            detections.append(
                Detection(float(clip_prediction.start_s[first]), float(clip_prediction.end_s[last]), label, score)
            )
    return sorted(detections, key=lambda found: found.start_s)  # which leaves labels in their order


def _consecutive_runs(clip_prediction: ClipPrediction, selected: np.ndarray, merge: bool) -> list[tuple[int, int]]:
    """(first, last) window of each run of shown ones with nothing unheard between them, or of each by itself."""
    indices = np.flatnonzero(selected).tolist()
    if not merge:
        return [(index, index) for index in indices]
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1 and clip_prediction.start_s[index] <= clip_prediction.end_s[index - 1]:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
