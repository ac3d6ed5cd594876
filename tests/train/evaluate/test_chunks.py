"""Chunks of windows, against all windows cut at once, whatever blocks the frames come in."""

from unittest.mock import patch

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from train.evaluate import chunks
from train.evaluate.chunks import WindowPlan
from train.evaluate.windows import window_starts


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
    with patch.object(chunks, "CHUNK_WINDOWS", at_once):
        found = list(WindowPlan(window, hop, margin, alignment).iter_chunks(clip.split(blocks)))
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
    lengths = [
        len(chunk.frames)
        for chunk in WindowPlan(40, 20, margin=40).iter_chunks(torch.zeros(20, 1) for _ in range(5_000))
    ]
    assert len(lengths) > 70
    assert max(lengths) <= 64 * 20 + 3 * 40
