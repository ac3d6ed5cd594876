"""When labels are detected: windows above their label's threshold, by date and hour of the recordings' own clocks."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from predict.output.submission import TIME_COLUMNS, iter_windows

MAX_DATES = 62
"""Rows of the page's table; more days are shown by month, more months by year."""
MAX_LABELS = 40
"""Labels to choose from, those with the most detections."""
DATE_LENGTHS = {"day": 10, "month": 7, "year": 4}
"""Characters of an ISO time."""


@dataclass(frozen=True)
class Activity:
    """Detections by label, date and hour."""

    unit: str
    """What a date is: a day, a month or a year."""
    dates: list[str]
    labels: list[str]
    detections: np.ndarray
    """[n_labels, n_dates, 24]"""
    has_windows: np.ndarray
    """Whether there are windows at all, boolean [n_dates, 24]."""

    def as_json(self, names: Sequence[str]) -> dict[str, Any]:
        """What the page and activity.js read; `names` of `labels`, in their order."""
        totals = self.detections.sum(axis=(1, 2))
        shown = [row for row in np.argsort(-totals, kind="stable")[:MAX_LABELS].tolist() if totals[row]]
        return {
            "dates": self.dates,
            "labels": ["all labels", *(names[row] for row in shown)],
            "n_detected": int((totals > 0).sum()),
            "counts": [self.detections.sum(axis=0).tolist(), *self.detections[shown].tolist()],
            "has_windows": self.has_windows.tolist(),
        }


def read_activity(path: Path, labels: Sequence[str], min_scores: np.ndarray | float) -> Activity | None:
    """The activity in a table of windows that `write_windows` wrote; None where it has no absolute times.

    `min_scores` [n_labels], or one for all: from here on a window's score is a detection.
    """
    with path.open(encoding="utf-8", errors="replace", newline="") as lines:
        if next(csv.reader(lines), [])[-2:] != TIME_COLUMNS:  # a label may hold their names
            return None
    thresholds = dict(zip(labels, np.broadcast_to(min_scores, len(labels)).tolist(), strict=True))
    parts = []
    for windows in iter_windows(path, labels):
        known = windows.dropna(subset=TIME_COLUMNS[:1])
        time, is_detected = known[TIME_COLUMNS[0]], known["score"] >= known["label"].map(thresholds).astype("float64")
        keys = [known["label"], time.str[:10].rename("date"), time.str[11:13].astype(int).rename("hour")]
        parts.append(is_detected.groupby(keys).sum())
    by_hour = pd.concat(parts).groupby(level=[0, 1, 2]).sum()
    return _count(by_hour, list(labels)) if len(by_hour) else None


def _count(by_hour: pd.Series, labels: list[str]) -> Activity:
    """Counts of detections by label, day and hour, with days joined to as few dates as a page shows."""
    days = by_hour.index.get_level_values("date")
    unit = next((name for name, n in DATE_LENGTHS.items() if days.str[:n].nunique() <= MAX_DATES), "year")
    dates = days.str[: DATE_LENGTHS[unit]]
    known = sorted(set(dates))
    detections, has_windows = np.zeros((len(labels), len(known), 24), np.int64), np.zeros((len(known), 24), bool)
    for date, (label, _, hour), count in zip(dates, by_hour.index, by_hour, strict=True):
        place = known.index(date), int(hour)
        detections[labels.index(label), *place] += count
        has_windows[place] = True
    return Activity(unit, known, labels, detections, has_windows)
