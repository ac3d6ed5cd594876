"""Windows cover every clip, in chunks too, are what the network was trained on, and are pooled and blended."""

import itertools
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from recipe import Prediction
from tests.train.store_factories import make_frame_bank
from train.data.crops import ShortClipPadding, gather_crops
from train.evaluate.windows import TIE_BREAK_WEIGHT, blend, iter_chunks, pool_windows, slice_windows, window_starts


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
    windows = slice_windows(frames, starts, 8, "pad", "logmel")
    assert windows.shape == (4, 8, 3)
    for start, window in zip(starts, windows, strict=True):
        assert torch.equal(window, frames[start : start + 8])


@pytest.mark.parametrize("short_clip_padding", ["random_tile", "pad", "tile"])
@pytest.mark.parametrize("kind", ["logmel", "waveform"])
def test_a_short_clip_is_filled_as_in_training(short_clip_padding: ShortClipPadding, kind: str) -> None:
    frames = torch.randn(5, 3)
    frame_bank = make_frame_bank({"short": frames.numpy()}, kind=kind)
    at_beginning = torch.tensor([[0], [5], [0]])
    window = slice_windows(frames, window_starts(5, 12, 4), 12, short_clip_padding, kind)
    assert torch.equal(window, gather_crops(frame_bank, at_beginning, 12, short_clip_padding))
    assert torch.equal(window[0, :5], frames)


def pooled(scores: Tensor, **prediction: Any) -> Tensor:
    return pool_windows(scores, Prediction(**prediction))


def test_windows_pool_by_the_recipe_s_rule() -> None:
    scores = torch.tensor([[0.1, 0.9], [0.5, 0.2], [0.3, 0.1], [0.2, 0.2]])
    assert torch.allclose(pooled(scores, pooling="mean"), torch.tensor([0.275, 0.35]))
    assert torch.allclose(pooled(scores, pooling="max"), torch.tensor([0.5, 0.9]))
    votes = pooled(scores, pooling="vote_fraction", window_threshold=0.2)
    assert torch.allclose(votes, 0.999 * torch.tensor([0.5, 0.25]) + 0.001 * torch.tensor([0.275, 0.35]))
    assert torch.equal(pooled(scores, pooling="center"), scores[1])


@given(st.integers(1, 900), st.integers(0, 10_000))
def test_votes_rank_first_and_mean_probabilities_where_they_are_equal(n_windows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    scores = torch.from_numpy(random.beta(0.2, 2, (n_windows, 8)).astype(np.float32))
    votes, means = (scores > 0.5).sum(0).tolist(), scores.double().mean(0).tolist()
    pool = pooled(scores, pooling="vote_fraction").tolist()
    for one, other in itertools.permutations(range(8), 2):
        if votes[one] > votes[other] or (votes[one] == votes[other] and means[one] > means[other] + 1e-3):
            assert pool[one] > pool[other]
    assert all((score >= TIE_BREAK_WEIGHT) == (n > 0) for score, n in zip(pool, votes, strict=True))


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


def test_blends_are_the_arithmetic_and_the_geometric_mean() -> None:
    scores = torch.tensor([[[0.1, 0.9]], [[0.4, 0.1]]])
    assert torch.allclose(blend(scores, "mean", "sigmoid"), torch.tensor([[0.25, 0.5]]))
    assert torch.allclose(blend(scores, "geometric", "sigmoid"), torch.tensor([[0.2, 0.3]]))
    assert torch.allclose(blend(scores, "geometric", "softmax"), torch.tensor([[0.4, 0.6]]))


def test_a_score_of_nothing_stays_finite() -> None:
    blended = blend(torch.tensor([[0.0, 0.0], [0.0, 1.0]]), "geometric", "sigmoid")
    assert blended.isfinite().all()
    assert float(blended.max()) < 1e-18


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any),
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(1, 8),
    st.integers(1, 5),
)
def test_chunks_hold_every_window_once_with_its_margin(
    blocks: list[int], window: int, hop: int, margin: int, alignment: int, at_once: int
) -> None:
    clip = torch.arange(sum(blocks), dtype=torch.float32)[:, None]
    with patch("train.evaluate.windows.CHUNK_WINDOWS", at_once):
        found = list(iter_chunks(clip.split(blocks), window, hop, margin, alignment))
    starts = np.concatenate([chunk.starts for chunk in found])
    np.testing.assert_array_equal(starts, window_starts(len(clip), window, hop))
    for chunk in found:
        assert len(chunk.starts) <= at_once
        assert chunk.first % alignment == 0
        first, last = int(chunk.frames[0]), int(chunk.frames[-1])
        assert first == chunk.first <= max(chunk.starts[0] - margin, 0)
        assert last == min(chunk.starts[-1] + window + margin, len(clip)) - 1
        assert len(chunk.frames) == last - first + 1


def test_a_long_clip_takes_no_more_memory() -> None:
    blocks = (torch.zeros(20, 1) for _ in range(5_000))
    lengths = [len(chunk.frames) for chunk in iter_chunks(blocks, 40, 20, margin=40)]
    assert len(lengths) > 70
    assert max(lengths) <= 64 * 20 + 3 * 40


def test_a_long_clip_in_one_block_is_not_copied_for_each_chunk() -> None:
    clip = torch.zeros(5_000, 1)
    chunks = list(iter_chunks([clip], 40, 20, margin=40))
    assert len(chunks) == 4
    assert {chunk.frames.untyped_storage().data_ptr() for chunk in chunks} == {clip.untyped_storage().data_ptr()}
