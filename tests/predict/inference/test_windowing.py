"""Spans of windows, against all windows cut at once, whatever blocks the frames come in."""

from unittest.mock import patch

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from predict.inference import windowing as spans
from predict.inference.windowing import Plan
from train.evaluate.windows import window_starts


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=12).filter(any),
    st.integers(1, 30),
    st.integers(1, 40),
    st.integers(0, 20),
    st.integers(1, 8),
    st.integers(1, 5),
)
def test_spans_hold_every_window_once_with_its_margin(
    blocks: list[int], window: int, hop: int, margin: int, step: int, at_once: int
) -> None:
    clip = torch.arange(sum(blocks), dtype=torch.float32)[:, None]
    with patch.object(spans, "WINDOWS_AT_ONCE", at_once):
        found = list(Plan(window, hop, margin, step).spans(clip.split(blocks)))
    starts = np.concatenate([span.starts for span in found])
    np.testing.assert_array_equal(starts, window_starts(len(clip), window, hop))
    for span in found:
        assert len(span.starts) <= at_once
        assert span.first % step == 0
        first, last = int(span.frames[0]), int(span.frames[-1])
        assert first == span.first <= max(span.starts[0] - margin, 0)
        assert last == min(span.starts[-1] + window + margin, len(clip)) - 1
        assert len(span.frames) == last - first + 1


def test_a_long_clip_takes_no_more_memory() -> None:
    lengths = [len(span.frames) for span in Plan(40, 20, margin=40).spans(torch.zeros(20, 1) for _ in range(5_000))]
    assert len(lengths) > 70
    assert max(lengths) <= 64 * 20 + 3 * 40
