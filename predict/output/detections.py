"""Detections: which labels lie where in a recording, chosen from the scores of its windows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

import numpy as np

from predict.inference.tagger import ClipPrediction
from preprocess.audio.recording_time import format_times

TIME_RESOLUTION_S = 1e-3
"""What times are written to."""


@dataclass(frozen=True)
class Detection:
    """A label from `start_s` to `end_s`, at its windows' highest score."""

    start_s: float
    end_s: float
    label: str
    score: float
    start_time: str = ""
    """ISO 8601; empty where it is not known when the recording began."""
    end_time: str = ""

    def rounded(self) -> Self:
        """Times to the millisecond, the score to a millionth: what is written."""
        return replace(self, start_s=round(self.start_s, 3), end_s=round(self.end_s, 3), score=round(self.score, 6))


@dataclass(frozen=True)
class DetectionFilter:
    """Which of a window's labels are shown: those from `min_scores` on, at most `top_labels` of them."""

    min_scores: np.ndarray | float = 0.0
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
    """Which windows have a length in the recording, boolean [n_windows]: windows in the padding around it have none.

    These count in a clip's scores, but no table shows them. If none has a length, all are true.
    """
    some = clip_prediction.end_s - clip_prediction.start_s >= TIME_RESOLUTION_S
    return some | ~some.any()


def detect(clip_prediction: ClipPrediction, labels: list[str], filters: DetectionFilter) -> list[Detection]:
    """A clip's detections, by start, then by label."""
    selected = filters.select(clip_prediction.windows) & has_duration(clip_prediction)[:, None]
    start_s, end_s, detections = clip_prediction.start_s, clip_prediction.end_s, []
    for label, windows, here in zip(labels, clip_prediction.windows.T, selected.T, strict=True):
        rows = np.flatnonzero(here)
        joined = filters.merge & (np.diff(rows) == 1) & (start_s[rows[1:]] <= end_s[rows[:-1]])
        runs = np.split(rows, np.flatnonzero(~joined) + 1) if len(rows) else []
        detections += [
            Detection(float(start_s[run[0]]), float(end_s[run[-1]]), label, float(windows[run].max())) for run in runs
        ]
    return sorted(detections, key=lambda found: found.start_s)  # which leaves labels in their order


def add_times(detections: Sequence[Detection], start: datetime | None) -> list[Detection]:
    """The detections of a recording that began at `start`, with their absolute times."""
    times = [format_times(start, found.start_s, found.end_s) for found in detections]
    return [replace(found, start_time=a, end_time=b) for found, (a, b) in zip(detections, times, strict=True)]
