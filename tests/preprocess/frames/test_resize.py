"""Resizing against torch's."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from preprocess.frames.framing import Frames
from preprocess.frames.stft import resize_time, resize_weights


@pytest.mark.parametrize(("n_in", "n_out"), [(1025, 256), (100, 100), (50, 128), (513, 1), (7, 5)])
def test_weights_are_torchs(n_in: int, n_out: int) -> None:
    values = torch.rand((1, 1, 1, n_in), generator=torch.Generator().manual_seed(0))
    theirs = torch.nn.functional.interpolate(values, size=(1, n_out), mode="bilinear", antialias=True)[0, 0, 0]
    ours = resize_weights(n_in, n_out) @ values[0, 0, 0].numpy()
    np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-5)


@given(
    n_frames=st.integers(1, 400),
    ratio=st.floats(0.2, 9),
    sizes=st.lists(st.integers(1, 200), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=80)
def test_time_is_resized_alike_in_any_blocks(n_frames: int, ratio: float, sizes: list[int]) -> None:
    frames = np.random.default_rng(0).random((n_frames, 3), dtype=np.float32)

    def blocks() -> Iterator[Frames]:
        at = 0
        for turn in range(n_frames):
            if at < n_frames:
                yield frames[at : (at := at + sizes[turn % len(sizes)])]

    n_out = max(1, round(n_frames / ratio))
    resized = np.concatenate(list(resize_time(blocks(), ratio)))
    np.testing.assert_allclose(resized, resize_weights(n_frames, n_out, ratio) @ frames, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.125, 8.0])
def test_a_large_block_is_resized_in_bounded_memory(ratio: float) -> None:
    """The windows that come at once for an n_fft of 256: their weights in one piece would take 270 MB."""
    block = np.random.default_rng(0).random((2048, 4), dtype=np.float32)
    tracemalloc.start()
    try:
        n_out = sum(map(len, resize_time([block], ratio)))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert n_out == round(2048 / ratio)
    assert peak_bytes < 20e6
