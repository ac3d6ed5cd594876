"""One recording as sound for a transform: decoded, without the silence at its ends, at least as long as asked for."""

import math
from collections.abc import Callable, Iterable, Iterator

from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.replay import Replay
from preprocess.audio.trimming import Span, cut, sounding_span, widen
from preprocess.frames.framing import Samples
from recipe import Features

Watch = Callable[[Iterable[Samples]], Iterator[Samples]]
"""Passes blocks on, and sees to it that they keep coming."""


class Recording:
    """The sound of one file at the recipe's rate. Iterating, as often as wanted, raises DecodeError.

    So it does where the file is longer than `longest_s`, as soon as this is known.
    """

    def __init__(self, path: str, features: Features, watch: Watch = iter, longest_s: float = math.inf) -> None:
        self.path, self.features, self.longest_s, self.n_samples = path, features, longest_s, 0
        self._decoded = Replay(lambda: self._counted(watch(decode_blocks(path, features.rate_hz))))
        self._span: Span | None = None

    def _counted(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        n_samples = 0
        for block in blocks:
            n_samples += len(block)
            if n_samples > self.longest_s * self.features.rate_hz:
                raise DecodeError(self.path, f"it is longer than {self.longest_s / 60:g} minutes")
            yield block
        self.n_samples = n_samples

    @property
    def duration_s(self) -> float:
        """Of the file; known once the sound has been heard."""
        return self.n_samples / self.features.rate_hz

    @property
    def start_s(self) -> float:
        """Where in the file the sound begins; below zero where silence was put before it."""
        return self._span.start / self.features.rate_hz if self._span else 0.0

    def __iter__(self) -> Iterator[Samples]:
        if self.features.trim_top_db is None and not self.features.min_seconds:
            return iter(self._decoded)
        self._span = self._span or self._measure()
        return cut(self._decoded, self._span)

    def _measure(self) -> Span:
        """The first hearing, which finds out what to cut and what to add."""
        if self.features.trim_top_db is None:
            sounding = Span(0, sum(map(len, self._decoded)))
        else:
            sounding = sounding_span(self._decoded, self.features.trim_top_db)
        span = Span(sounding.start, min(sounding.stop, self.n_samples))
        return widen(span, self.n_samples, round(self.features.min_seconds * self.features.rate_hz))
