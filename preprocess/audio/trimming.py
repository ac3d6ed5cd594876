"""Where a recording's sound begins and ends: silence at its ends, and a least length; parts of a sound in blocks."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from preprocess.frames.framing import Samples, windows

WINDOW_SAMPLES, HOP_SAMPLES = 2048, 512
FAINTEST_RMS = 1e-5
"""Of librosa.amplitude_to_db."""


@dataclass(frozen=True)
class Span:
    """From sample `start` up to `stop`; either may lie beyond the recording, where there is silence."""

    start: int
    stop: int


def sounding_span(sound: Iterable[Samples], top_db: float) -> Span:
    """The span between silences `top_db` below the loudest, up to a hop beyond the end: `librosa.effects.trim`."""
    views = windows(sound, WINDOW_SAMPLES, HOP_SAMPLES)
    energies = [np.einsum("ij,ij->i", view, view) for view in views]
    rms = np.maximum(FAINTEST_RMS, np.sqrt(np.concatenate(energies) / WINDOW_SAMPLES))
    loud = np.flatnonzero(20 * np.log10(rms / rms.max()) > -top_db)
    return Span(int(loud[0]) * HOP_SAMPLES, (int(loud[-1]) + 1) * HOP_SAMPLES)


def widen(span: Span, n_samples: int, least: int) -> Span:
    """A span of at least `least` samples about the middle of `span`, within the recording as far as that is enough."""
    missing = least - (span.stop - span.start)
    if missing <= 0:
        return span
    start = span.start - missing // 2
    start = max(0, min(start, n_samples - least)) if least <= n_samples else (n_samples - least) // 2
    return Span(start, start + least)


def cut(sound: Iterable[Samples], span: Span) -> Iterator[Samples]:
    """The sound within a span, with zeros where the span goes beyond it."""
    if span.start < 0:
        yield np.zeros(-span.start, np.float32)
    at = 0
    for block in sound:
        part = block[max(0, span.start - at) : max(0, span.stop - at)]
        at += len(block)
        if len(part):
            yield part
    if span.stop > at:
        yield np.zeros(span.stop - at, np.float32)


def beginning(sound: Iterable[Samples], n_samples: int) -> Iterator[Samples]:
    """The first `n_samples` of a sound, or all it has; no more blocks are asked for than hold them."""
    for block in sound:
        yield block[:n_samples]
        n_samples -= len(block)
        if n_samples <= 0:
            return
