"""Windows cover every clip, and are what the network was trained on."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recipe import Prediction
from tests.train.store_factories import make_frame_bank
from train.data.crops import CropPositions, ShortClipPadding, gather_crops
from train.evaluate.windows import pool_windows, slice_windows, window_starts


@given(st.integers(1, 400), st.integers(1, 60), st.integers(1, 80))
def test_windows_cover_a_clip_as_a_loop_would(n_frames: int, window: int, hop: int) -> None:
    expected, start = [], 0
    while start + window <= n_frames:
        expected.append(start)
        start += hop
    if not expected:
        expected = [0]
    elif expected[-1] + window < n_frames:
        expected.append(n_frames - window)
    starts = window_starts(n_frames, window, hop)
    assert starts.dtype == np.int64
    assert starts.tolist() == expected


@pytest.mark.parametrize(("n_frames", "expected"), [(9, [0]), (10, [0]), (11, [0, 1]), (14, [0, 4]), (15, [0, 4, 5])])
def test_clips_shorter_than_equal_to_and_one_frame_longer_than_a_window(n_frames: int, expected: list[int]) -> None:
    assert window_starts(n_frames, 10, 4).tolist() == expected


def test_windows_are_the_frames_they_name() -> None:
    frames = torch.randn(23, 3)
    starts = window_starts(23, 8, 5)
    windows = slice_windows(frames, starts, 8)
    assert windows.shape == (4, 8, 3)
    for start, window in zip(starts, windows, strict=True):
        assert torch.equal(window, frames[start : start + 8])


@pytest.mark.parametrize("short_clip_padding", ["random_tile", "pad", "tile"])
@pytest.mark.parametrize("kind", ["logmel", "waveform"])
def test_a_short_clip_is_filled_as_in_training(short_clip_padding: ShortClipPadding, kind: str) -> None:
    frames = torch.randn(5, 3)
    frame_bank = make_frame_bank({"short": frames.numpy()}, kind=kind)
    at_beginning = CropPositions(torch.tensor([0]), torch.tensor([5]), torch.tensor([0]))
    window = slice_windows(frames, window_starts(5, 12, 4), 12, short_clip_padding, kind)
    assert torch.equal(window, gather_crops(frame_bank, at_beginning, 12, short_clip_padding))
    assert torch.equal(window[0, :5], frames)


def pooled(scores: Tensor, **prediction: Any) -> Tensor:
    return pool_windows(scores, Prediction(**prediction))


def test_windows_pool_by_the_recipe_s_rule() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.3, 0.1], [0.2, 0.2]])
    assert torch.allclose(pooled(scores, pooling="mean"), torch.tensor([0.275, 0.35]))
    assert torch.allclose(pooled(scores, pooling="max"), torch.tensor([0.5, 0.9]))
    assert torch.allclose(pooled(scores, pooling="vote_fraction", window_threshold=0.2), torch.tensor([0.5, 0.25]))
    assert torch.equal(pooled(scores, pooling="center"), scores[1])


@pytest.mark.parametrize("n_windows", [1, 2, 5])
@pytest.mark.parametrize("pooling", ["mean", "max", "vote_fraction", "center"])
def test_pooled_scores_lie_between_the_lowest_and_the_highest(n_windows: int, pooling: str) -> None:
    scores = torch.rand(n_windows, 4, generator=torch.Generator().manual_seed(n_windows)) ** 40
    scores[:, 0], scores[:, 1] = 0, 1
    values = pooled(scores, pooling=pooling)
    if pooling != "vote_fraction":
        assert (values >= scores.amin(0) - 1e-6).all()
        assert (values <= scores.amax(0)).all()
    assert values[:2].tolist() == [0, 1]
