"""The windows of a clip as its card shows them: for each of its labels a strip of scores over time."""

import numpy as np
import pandas as pd

MAX_WINDOWS = 300
"""Of a strip: in longer recordings, neighbouring windows are shown as one, with their highest score."""


def window_strips(windows: pd.DataFrame, labels: list[str]) -> tuple[dict[str, list[float]], list[list[float | None]]]:
    """When windows (as `read_windows`) start and end in seconds, and for each of `labels` a score a window.

    A score that is not known is None.
    """
    groups = np.arange(len(windows)) * min(len(windows), MAX_WINDOWS) // max(1, len(windows))
    table = windows.reset_index().groupby(groups)
    times = {"start_s": table["start_s"].min().tolist(), "end_s": table["end_s"].max().tolist()}
    scores = [[None if np.isnan(score) else round(score, 3) for score in table[label].max()] for label in labels]
    return times, scores
