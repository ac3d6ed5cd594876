"""Views of windows, against windows cut by hand."""

from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pytest
import torch

from predict.inference.run_loader import load_run
from recipe import Prediction
from tests.predict.conftest import TinyRun
from train.evaluate.window_scorer import View, WindowScorer

PLAIN = Prediction(window_seconds=0.5, hop_seconds=0.25)
"""40 frames every 20."""


@pytest.fixture
def scorer(tiny_run: TinyRun) -> WindowScorer:
    return load_run(tiny_run.run_paths.run_dir, PLAIN).tagger(0).scorer


def noise(n_frames: int) -> torch.Tensor:
    return torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(n_frames)) * 10 - 40


def by_hand(scorer: WindowScorer, windows: list[torch.Tensor]) -> np.ndarray:
    with torch.inference_mode():
        return np.stack([scorer.networks[0](window[None])[0].sigmoid().numpy() for window in windows])


def score_views(scorer: WindowScorer, frames: torch.Tensor, **views: Any) -> np.ndarray:
    (windows,) = replace(scorer, prediction=replace(PLAIN, **views)).score_clips([[frames]])
    return windows.scores


def test_a_window_s_score_is_the_mean_of_its_views(scorer: WindowScorer) -> None:
    frames = noise(90)
    plain = by_hand(scorer, [frames[0:40], frames[20:60], frames[40:80], frames[50:90]])
    later = by_hand(scorer, [frames[8:48], frames[28:68], frames[48:88], frames[50:90]])
    np.testing.assert_allclose(score_views(scorer, frames, view_shifts_s=[0.1]), (plain + later) / 2, atol=1e-5)
    louder = by_hand(scorer, [frames[first : first + 40] + 6 for first in (0, 20, 40, 50)])
    np.testing.assert_allclose(score_views(scorer, frames, view_gains_db=[6.0]), (plain + louder) / 2, atol=1e-5)
    every = score_views(scorer, frames, view_shifts_s=[0.1], view_gains_db=[6.0])
    np.testing.assert_allclose(every, (plain + later + louder) / 3, atol=1e-5)


def test_views_of_a_clip_shorter_than_a_window_begin_with_it(scorer: WindowScorer) -> None:
    plain = score_views(scorer, noise(30))
    np.testing.assert_allclose(score_views(scorer, noise(30), view_shifts_s=[-0.1, 0.2]), plain, atol=1e-6)


def test_networks_are_blended_after_their_views(tiny_run: TinyRun) -> None:
    prediction = replace(PLAIN, view_gains_db=[6.0], blend="geometric")
    run, frames = load_run(tiny_run.run_paths.run_dir, prediction), noise(90)
    (together,) = run.tagger().scorer.score_clips([[frames]])
    one, two = (score_views(run.tagger(fold).scorer, frames, view_gains_db=[6.0]) for fold in (0, 1))
    np.testing.assert_allclose(together.scores, np.sqrt(one * two), atol=1e-6)


@pytest.mark.parametrize("n_frames", [600, 140, 160, 161])
@pytest.mark.parametrize("mode", ["exact", "dense"])
def test_chunks_leave_no_trace_on_views(
    scorer: WindowScorer, mode: Literal["exact", "dense"], n_frames: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    views: dict[str, Any] = {"view_shifts_s": [-0.3, 0.2], "mode": mode}
    unchunked = score_views(scorer, noise(n_frames), **views)
    monkeypatch.setattr("train.evaluate.windows.CHUNK_WINDOWS", 3)
    np.testing.assert_allclose(score_views(scorer, noise(n_frames), **views), unchunked, atol=1e-4)


def test_gain_is_added_to_decibels_and_multiplies_samples() -> None:
    view, frames = View(gain_db=20.0), torch.ones(2, 1)
    assert view.apply_gain(frames, "logmel").tolist() == [[21.0], [21.0]]
    assert view.apply_gain(frames, "waveform").tolist() == [[10.0], [10.0]]
    assert view.apply_gain(frames, "cqt_chroma") is frames


def test_the_recipe_s_views_change_one_thing_each() -> None:
    scorer = WindowScorer([], replace(PLAIN, view_shifts_s=[-0.3], view_gains_db=[6.0]), 80.0)
    assert scorer.views == [View(), View(shift=-24), View(gain_db=6.0)]
