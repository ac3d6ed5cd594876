"""Short-time spectra, resized as images are: linear interpolation that averages where it shrinks.

The weights are those of `torch.nn.functional.interpolate(mode="bilinear", antialias=True)`.
"""

import math
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from preprocess.frames.framing import (
    Frames,
    Samples,
    apply_filterbank,
    iter_windows,
    power_spectra,
    power_to_db,
    split_filterbank,
)
from recipe import Features

BATCH_SIZE = 256
"""Outputs of one matrix product; it bounds the memory of their weights [n_out, n_in]."""


class Stft:
    """The short-time spectrum in dB, resized like an image to a chosen number of bins and of frames a second."""

    def __init__(self, features: Features) -> None:
        self.features, self.taper = features, np.hanning(features.n_fft + 1)[:-1]  # periodic
        self.filter_blocks = split_filterbank(resize_weights(features.n_fft // 2 + 1, features.n_bins))

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        features = self.features
        frames = self._resize_frequency(blocks)
        if features.frames_per_second:
            frames = resize_time(frames, features.sample_rate_hz / features.hop_length / features.frames_per_second)
        return frames

    def _resize_frequency(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        features = self.features
        for windows in iter_windows(blocks, features.n_fft, features.hop_length, features.center):
            yield apply_filterbank(power_to_db(power_spectra(windows, self.taper)), self.filter_blocks)


def resize_weights(n_in: int, n_out: int, ratio: float | None = None, first_out: int = 0, first_in: int = 0) -> Frames:
    """Weights [n_out, n_in] of inputs `first_in`.. in outputs `first_out`..; every output's weights add up to 1.

    An output covers `ratio` inputs, n_in / n_out by default.
    """
    ratio = ratio or n_in / n_out
    centres = (np.arange(first_out, first_out + n_out) + 0.5) * ratio
    distances = np.abs(np.arange(first_in, first_in + n_in) + 0.5 - centres[:, None])
    weights: npt.NDArray[np.float64] = np.maximum(0.0, 1.0 - distances / max(1.0, ratio))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def resize_time(blocks: Iterable[Frames], ratio: float) -> Iterator[Frames]:
    """Frames in blocks → frames in blocks, one for `ratio` of them; joined, they do not depend on the blocks."""
    reach = max(1.0, ratio)
    pending: Frames | None = None
    first_in = n_out = 0
    for block in blocks:
        pending = block if pending is None else np.concatenate([pending, block])
        n_known = int((first_in + len(pending) - reach) / ratio - 0.5)  # outputs whose inputs are all here
        if n_known > n_out:
            yield from _outputs(pending, first_in, n_out, n_known, ratio)
            n_out = n_known
            n_dropped = _first_input(n_out, ratio, first_in)
            pending, first_in = pending[n_dropped:], first_in + n_dropped
    if pending is not None:
        yield from _outputs(pending, first_in, n_out, max(1, round((first_in + len(pending)) / ratio)), ratio)


def _outputs(inputs: Frames, first_in: int, start: int, stop: int, ratio: float) -> Iterator[Frames]:
    """Yield outputs `start` to `stop` of inputs `first_in`.., BATCH_SIZE at a time."""
    for first in range(start, stop, BATCH_SIZE):
        n_out = min(BATCH_SIZE, stop - first)
        here = _first_input(first, ratio, first_in)
        until = math.ceil((first + n_out - 0.5) * ratio + max(1.0, ratio)) - first_in
        reached = inputs[here:until]
        yield resize_weights(len(reached), n_out, ratio, first, first_in + here) @ reached


def _first_input(output: int, ratio: float, first_in: int) -> int:
    """Index, among the inputs from `first_in` on, of the first that an output or a later one depends on."""
    return max(0, int((output + 0.5) * ratio - max(1.0, ratio)) - first_in)
