"""One recording as sound for a transform: decoded, without the silence at its ends, at least as long as asked for."""

import math
from collections.abc import Iterable, Iterator

import numpy as np

from core.sandbox import report_progress
from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.frames.framing import Samples, iter_windows
from recipe import Features

MAX_CACHED_BYTES = 1 << 24
"""A minute and a half of sound at 44.1 kHz."""
FRAME_LENGTH, HOP_LENGTH = 2048, 512
MIN_RMS = 1e-5
"""The least level, as in librosa.amplitude_to_db."""


class ClipAudio:
    """The sound of one file at the recipe's rate, in blocks. It can be iterated over again.

    Iterating raises DecodeError, also where the file is longer than `max_duration_s`, as soon as this is known. Then
    `duration_s` is the file's length, `start_s` is where the sound begins, below zero after added silence, and
    `warnings` has what could not be read.
    """

    def __init__(self, path: str, features: Features, max_duration_s: float = math.inf) -> None:
        self.path, self.features, self.max_duration_s = path, features, max_duration_s
        self.n_samples, self.duration_s, self.start_s = 0, 0.0, 0.0
        self.warnings = list[str]()
        self._cached: list[Samples] | None = None
        self._span: range | None = None

    def _decode(self) -> Iterator[Samples]:
        """All sound of the file; up to MAX_CACHED_BYTES of it are kept, a longer file is decoded again."""
        if self._cached is not None:
            for block in self._cached:
                report_progress()  # a copy of one takes seconds, and a clip may have many copies
                yield block
            return
        cached, n_samples, n_bytes, self.warnings = list[Samples](), 0, 0, []
        for block in decode_blocks(self.path, self.features.sample_rate_hz, self.features.channel, self.warnings):
            n_samples, n_bytes = n_samples + len(block), n_bytes + block.nbytes
            if n_samples > self.max_duration_s * self.features.sample_rate_hz:
                raise DecodeError(self.path, f"it is longer than {self.max_duration_s / 60:g} minutes")
            if n_bytes <= MAX_CACHED_BYTES:
                cached.append(block)
            else:
                cached.clear()
            yield block
        self.n_samples, self.duration_s = n_samples, n_samples / self.features.sample_rate_hz
        if n_bytes <= MAX_CACHED_BYTES:
            self._cached = cached

    def __iter__(self) -> Iterator[Samples]:
        if self.features.trim_top_db is None and not self.features.min_seconds:
            return self._decode()
        if self._span is None:
            self._span = self._find_span()
            self.start_s = self._span.start / self.features.sample_rate_hz
        return slice_blocks(self._decode(), self._span)

    def _find_span(self) -> range:
        """The samples to keep, some of which may lie beyond the file."""
        if self.features.trim_top_db is None:
            span = range(sum(map(len, self._decode())))
        else:
            span = find_non_silent_span(self._decode(), self.features.trim_top_db)
        min_samples = round(self.features.min_seconds * self.features.sample_rate_hz)
        return extend_span(range(span.start, min(span.stop, self.n_samples)), self.n_samples, min_samples)


def find_non_silent_span(sound: Iterable[Samples], top_db: float) -> range:
    """The samples between silences `top_db` below the loudest, up to a hop beyond the end: `librosa.effects.trim`."""
    views = iter_windows(sound, FRAME_LENGTH, HOP_LENGTH)
    energies = [np.einsum("ij,ij->i", view, view, dtype=np.float64) for view in views]
    rms = np.maximum(MIN_RMS, np.sqrt(np.concatenate(energies) / FRAME_LENGTH))
    loud = np.flatnonzero(20 * np.log10(rms / rms.max()) > -top_db)
    return range(int(loud[0]) * HOP_LENGTH, (int(loud[-1]) + 1) * HOP_LENGTH)


def extend_span(span: range, n_samples: int, min_samples: int) -> range:
    """At least `min_samples` about the middle of `span`, within the recording of `n_samples` as far as possible."""
    missing = min_samples - len(span)
    if missing <= 0:
        return span
    start = span.start - missing // 2
    start = max(0, min(start, n_samples - min_samples)) if min_samples <= n_samples else (n_samples - min_samples) // 2
    return range(start, start + min_samples)


def slice_blocks(sound: Iterable[Samples], span: range) -> Iterator[Samples]:
    """The samples of `span`, with zeros before and after the sound."""
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


def take_samples(sound: Iterable[Samples], n_samples: int) -> Iterator[Samples]:
    """The first `n_samples` of a sound, or all it has, from no more blocks than hold them."""
    for block in sound:
        yield block[:n_samples]
        n_samples -= len(block)
        if n_samples <= 0:
            return
