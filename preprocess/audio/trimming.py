"""Where a recording's sound begins and ends: silence at its ends, and a least length; parts of a sound in blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from preprocess.frames.framing import Samples, iter_windows

FRAME_LENGTH, HOP_LENGTH = 2048, 512
MIN_RMS = 1e-5
"""Of librosa.amplitude_to_db."""


@dataclass(frozen=True)
class SampleRange:
    """From sample `start` up to `stop`; either may lie beyond the recording, where there is silence."""

    start: int
    stop: int


def find_non_silent_span(sound: Iterable[Samples], top_db: float) -> SampleRange:
    """The span between silences `top_db` below the loudest, up to a hop beyond the end: `librosa.effects.trim`."""
    views = iter_windows(sound, FRAME_LENGTH, HOP_LENGTH)
    energies = [np.einsum("ij,ij->i", view, view) for view in views]
    rms = np.maximum(MIN_RMS, np.sqrt(np.concatenate(energies) / FRAME_LENGTH))
    loud = np.flatnonzero(20 * np.log10(rms / rms.max()) > -top_db)
    return SampleRange(int(loud[0]) * HOP_LENGTH, (int(loud[-1]) + 1) * HOP_LENGTH)


def extend_span(sample_range: SampleRange, n_samples: int, min_samples: int) -> SampleRange:
    """A range of at least `min_samples` about the middle of `sample_range`.

    It lies within the recording as far as that is enough.
    """
    missing = min_samples - (sample_range.stop - sample_range.start)
    if missing <= 0:
        return sample_range
    start = sample_range.start - missing // 2
    start = max(0, min(start, n_samples - min_samples)) if min_samples <= n_samples else (n_samples - min_samples) // 2
    return SampleRange(start, start + min_samples)


def slice_blocks(sound: Iterable[Samples], sample_range: SampleRange) -> Iterator[Samples]:
    """The sound within a range, with zeros where the range goes beyond it."""
    if sample_range.start < 0:
        yield np.zeros(-sample_range.start, np.float32)
    at = 0
    for block in sound:
        part = block[max(0, sample_range.start - at) : max(0, sample_range.stop - at)]
        at += len(block)
        if len(part):
            yield part
    if sample_range.stop > at:
        yield np.zeros(sample_range.stop - at, np.float32)


def take_samples(sound: Iterable[Samples], n_samples: int) -> Iterator[Samples]:
    """The first `n_samples` of a sound, or all it has; no more blocks are asked for than hold them."""
    for block in sound:
        yield block[:n_samples]
        n_samples -= len(block)
        if n_samples <= 0:
            return
