"""Sound as frames of its own samples."""

from collections.abc import Iterable, Iterator

import numpy as np

from preprocess.frames.framing import Frames, Samples
from recipe import Features


class Waveform:
    """The samples themselves, n_bins a frame; zeros fill up the last frame."""

    def __init__(self, features: Features) -> None:
        self.n_bins = features.n_bins

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins] of blocks of sound."""
        rest = np.zeros(0, np.float32)
        for block in blocks:
            samples = np.concatenate([rest, block])
            n_whole = len(samples) // self.n_bins * self.n_bins
            yield samples[:n_whole].reshape(-1, self.n_bins)
            rest = samples[n_whole:]
        if len(rest):
            yield np.pad(rest, (0, self.n_bins - len(rest)))[None]
