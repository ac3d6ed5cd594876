"""Strips of a clip's windows: as they are, or the highest of neighbours in long recordings; and a clip's length."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from core.sandbox import SandboxLimits
from predict.decide.fitted_params import Thresholds
from predict.output.summary import SubmissionSummary
from recipe import Features
from report.clip_cards import MAX_WINDOWS, ClipMedia, build_clip_cards, window_strips
from report.media.preview import read_preview


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


@pytest.mark.parametrize(("picture_s", "duration_s", "strip_s"), [(60.0, 30.0, 30.0), (20.0, None, 4.0)])
def test_a_recording_of_which_few_windows_are_kept_has_its_own_length_or_none(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    picture_s: float,
    duration_s: float | None,
    strip_s: float,
) -> None:
    monkeypatch.setattr("report.media.preview.PICTURE_S", picture_s)
    soundfile.write(tmp_path / "a.wav", np.random.default_rng(0).uniform(-0.1, 0.1, 30 * 8_000), 8_000)
    preview = read_preview(str(tmp_path / "a.wav"), Features(sample_rate_hz=8_000))
    monkeypatch.setattr("report.clip_cards.read_each", lambda *_, **__: (each for each in [(0, preview)]))
    windows = make_windows(3).iloc[2:]  # from 2 to 4 s
    scores, unknown = np.array([[0.1, 0.0]], np.float32), np.full((1, 2), np.nan, np.float32)
    thresholds = Thresholds(np.array([0.5, 0.5], np.float32), "a file")
    summary = SubmissionSummary(["a.wav"], ["rising", "unknown"], scores, thresholds, unknown)
    media = ClipMedia({"a.wav": tmp_path / "a.wav"}, Features(sample_rate_hz=8_000), SandboxLimits())
    (card,) = build_clip_cards(summary, {0: ["example"]}, media, None, 1, {"a.wav": windows})
    assert (card["duration_s"], card["strip_s"]) == (duration_s, strip_s)
