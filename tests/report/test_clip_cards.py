"""Strips of a clip's windows: as they are, or the highest of neighbours in long recordings."""

import numpy as np
import pandas as pd
import pytest

from report.clip_cards import MAX_WINDOWS, window_strips


def make_windows(n_windows: int) -> pd.DataFrame:
    """Windows of 2 seconds, one a second."""
    starts = np.arange(n_windows, dtype=float)
    index = pd.MultiIndex.from_arrays([starts, starts + 2], names=["start_s", "end_s"])
    rising = np.linspace(0, 1, n_windows)
    return pd.DataFrame({"rising": rising, "unknown": np.where(rising > 0.5, rising, np.nan)}, index)


def test_windows_are_shown_as_they_are() -> None:
    times, (rising, unknown) = window_strips(make_windows(3), ["rising", "unknown"])
    assert times == {"start_s": [0.0, 1.0, 2.0], "end_s": [2.0, 3.0, 4.0]}
    assert rising == [0.0, 0.5, 1.0]
    assert unknown == [None, None, 1.0]


def test_neighbours_are_one_in_long_recordings() -> None:
    times, (rising,) = window_strips(make_windows(4 * MAX_WINDOWS), ["rising"])
    assert len(rising) == len(times["start_s"]) == MAX_WINDOWS
    assert (times["start_s"][:2], times["end_s"][:2]) == ([0.0, 4.0], [5.0, 9.0])
    assert rising[0] == round(3 / (4 * MAX_WINDOWS - 1), 3)
    assert rising[-1] == 1.0


def test_windows_far_apart_are_not_joined() -> None:
    windows = make_windows(40 * MAX_WINDOWS)
    is_kept = np.isin(np.arange(len(windows)) % 4_000, range(MAX_WINDOWS // 2))  # three groups of 150 are left
    times, (rising,) = window_strips(windows[is_kept], ["rising"])
    lengths_s = np.subtract(times["end_s"], times["start_s"])
    assert lengths_s.max() <= 40 + 2
    assert lengths_s.sum() == pytest.approx(3 * 150, abs=50)
    assert rising[-1] == pytest.approx((8_000 + 149) / (40 * MAX_WINDOWS - 1), abs=0.001)
