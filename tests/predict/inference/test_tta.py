"""Views of windows, against windows cut by hand."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from predict.inference.tagger import Tagger, load_run
from predict.inference.tta import View, make_views, view_margin
from recipe import Prediction
from tests.predict.conftest import TinyRun

PLAIN = Prediction(window_seconds=0.5, hop_seconds=0.25)
"""40 frames every 20."""


@pytest.fixture
def tagger(tiny_run: TinyRun) -> Tagger:
    return load_run(tiny_run.run_paths.run_dir, PLAIN).tagger(0)


def noise(n_frames: int) -> torch.Tensor:
    return torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(n_frames)) * 10 - 40


def by_hand(tagger: Tagger, windows: list[torch.Tensor]) -> np.ndarray:
    with torch.inference_mode():
        return np.stack([tagger.networks[0](window[None])[0].sigmoid().numpy() for window in windows])


def score_views(tagger: Tagger, frames: torch.Tensor, **views: Any) -> np.ndarray:
    return replace(tagger, prediction=replace(PLAIN, **views)).tag(frames).windows


def test_a_window_s_score_is_the_mean_of_its_views(tagger: Tagger) -> None:
    frames = noise(90)
    plain = by_hand(tagger, [frames[0:40], frames[20:60], frames[40:80], frames[50:90]])
    later = by_hand(tagger, [frames[8:48], frames[28:68], frames[48:88], frames[50:90]])
    np.testing.assert_allclose(score_views(tagger, frames, view_shifts_s=[0.1]), (plain + later) / 2, atol=1e-5)
    louder = by_hand(tagger, [frames[first : first + 40] + 6 for first in (0, 20, 40, 50)])
    np.testing.assert_allclose(score_views(tagger, frames, view_gains_db=[6.0]), (plain + louder) / 2, atol=1e-5)
    longer = by_hand(tagger, [frames[0:60], frames[10:70], frames[30:90], frames[30:90]])
    np.testing.assert_allclose(score_views(tagger, frames, view_windows_s=[0.75]), (plain + longer) / 2, atol=1e-5)
    every = score_views(tagger, frames, view_shifts_s=[0.1], view_gains_db=[6.0], view_windows_s=[0.75])
    np.testing.assert_allclose(every, (plain + later + louder + longer) / 4, atol=1e-5)


def test_a_view_longer_than_the_clip_is_filled(tagger: Tagger) -> None:
    frames = noise(50)
    filled = by_hand(tagger, [torch.cat([frames, frames[:30]])] * 2)
    plain = by_hand(tagger, [frames[0:40], frames[10:50]])
    np.testing.assert_allclose(score_views(tagger, frames, view_windows_s=[1.0]), (plain + filled) / 2, atol=1e-5)


@pytest.mark.parametrize("n_frames", [600, 140, 160, 161])
@pytest.mark.parametrize("mode", ["exact", "dense"])
def test_chunks_leave_no_trace_on_views(
    tagger: Tagger, mode: str, n_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: dict[str, Any] = {"view_shifts_s": [-0.3, 0.2], "view_windows_s": [0.8, 1.0], "mode": mode}
    unchunked = score_views(tagger, noise(n_frames), **views)
    monkeypatch.setattr("predict.inference.windowing.CHUNK_WINDOWS", 3)
    np.testing.assert_allclose(score_views(tagger, noise(n_frames), **views), unchunked, atol=1e-4)


@pytest.mark.parametrize("n_windows", [4, 7])
def test_a_longer_view_of_a_last_window_that_is_alone_ends_with_the_clip(
    tagger: Tagger, n_windows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    frames = noise(40 + 20 * (n_windows - 1))
    unchunked = score_views(tagger, frames, view_windows_s=[1.0])
    monkeypatch.setattr("predict.inference.windowing.CHUNK_WINDOWS", 3)
    np.testing.assert_allclose(score_views(tagger, frames, view_windows_s=[1.0]), unchunked, atol=1e-6)


def test_gain_is_added_to_decibels_and_multiplies_samples() -> None:
    view, frames = View(40, gain_db=20.0), torch.ones(2, 1)
    assert view.apply_gain(frames, "logmel").tolist() == [[21.0], [21.0]]
    assert view.apply_gain(frames, "waveform").tolist() == [[10.0], [10.0]]
    assert view.apply_gain(frames, "cqt_chroma") is frames


def test_the_margin_covers_every_view() -> None:
    views = make_views(replace(PLAIN, view_shifts_s=[-0.3], view_windows_s=[0.8]), 80.0)
    assert views == [View(40), View(40, shift=-24), View(64)]
    assert view_margin(views, 40) == 24
    assert view_margin([View(40), View(65)], 40) == 25
