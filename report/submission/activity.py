"""When labels are detected: windows above their label's threshold, by date and hour of the recordings' own clocks."""

import csv
from collections.abc import Sequence
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


def read_activity(
    path: Path, labels: Sequence[str], names: Sequence[str], min_scores: np.ndarray | float
) -> dict[str, Any] | None:
    """What the page and activity.js show of a table of windows by `write_windows`; None where it has no absolute times.

    `names` are those of `labels`. From `min_scores` [n_labels] on, or one for all, a window's score is a detection.
    Days are joined to as few dates as a page shows; `unit` says what a date is: a day, a month or a year.
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
    by_day = pd.concat(parts)
    if by_day.empty:
        return None
    days = by_day.index.get_level_values("date")
    unit = next((name for name, n in DATE_LENGTHS.items() if days.str[:n].nunique() <= MAX_DATES), "year")
    by_date = by_day.groupby(["label", days.str[: DATE_LENGTHS[unit]], "hour"]).sum()
    dates = sorted(by_date.index.unique("date"))
    cells = by_date.reindex(pd.MultiIndex.from_product([labels, dates, range(24)]))  # NaN: no window
    grid = cells.to_numpy(np.float64).reshape(len(labels), len(dates), 24)
    counts = np.nan_to_num(grid).astype(np.int64)
    totals = counts.sum(axis=(1, 2))
    shown = [row for row in np.argsort(-totals, kind="stable")[:MAX_LABELS].tolist() if totals[row]]
    return {
        "unit": unit,
        "dates": dates,
        "labels": ["all labels", *(names[row] for row in shown)],
        "n_detected": int((totals > 0).sum()),
        "counts": [counts.sum(axis=0).tolist(), *counts[shown].tolist()],
        "has_windows": (~np.isnan(grid)).any(axis=0).tolist(),
    }
