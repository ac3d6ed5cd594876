"""Detections: which labels lie where in a recording, chosen from the scores of its windows."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from predict.inference.tagger import Answer

SHORTEST_S = 1e-3
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
class Filters:
    """Which of a window's labels are shown: those of at least a score, and of them the highest."""

    lowest: np.ndarray
    """[n_labels], or one for all."""
    top_labels: int | None = None
    merge: bool = False
    """Consecutive windows of a label become one detection."""

    def shown(self, windows: np.ndarray) -> np.ndarray:
        """Boolean, of scores [n_windows, n_labels]."""
        shown = windows >= self.lowest
        if self.top_labels is not None:
            rank = np.argsort(np.argsort(-windows, axis=1, kind="stable"), axis=1)
            shown &= rank < self.top_labels
        return shown


def lasting(answer: Answer) -> np.ndarray:
    """Which windows have a length in the recording, boolean [n_windows]: some lie in silence put around it.

    They have a say in a clip's scores, but are nowhere. All of them where none has a length.
    """
    some = answer.end_s - answer.start_s >= SHORTEST_S
    return some | ~some.any()


def detect(answer: Answer, labels: list[str], filters: Filters) -> list[Detection]:
    """A clip's detections, by start, then by label."""
    shown = filters.shown(answer.windows) & lasting(answer)[:, None]
    detections = []
    for column, label in enumerate(labels):
        for first, last in _runs(answer, shown[:, column], filters.merge):
            score = float(answer.windows[first : last + 1, column].max())
            detections.append(Detection(float(answer.start_s[first]), float(answer.end_s[last]), label, score))
    return sorted(detections, key=lambda found: found.start_s)  # which leaves labels in their order


def _runs(answer: Answer, shown: np.ndarray, merge: bool) -> list[tuple[int, int]]:
    """(first, last) window of each run of shown ones with nothing unheard between them, or of each by itself."""
    indices = np.flatnonzero(shown).tolist()
    if not merge:
        return [(index, index) for index in indices]
    runs: list[tuple[int, int]] = []
    for index in indices:
        if runs and runs[-1][1] == index - 1 and answer.start_s[index] <= answer.end_s[index - 1]:
            runs[-1] = (runs[-1][0], index)
        else:
            runs.append((index, index))
    return runs
