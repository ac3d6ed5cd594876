"""One recording as sound for a transform: decoded, without the silence at its ends, at least as long as asked for."""

import math
from collections.abc import Iterable, Iterator

from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks
from preprocess.audio.replay import ReplayableBlocks
from preprocess.audio.trimming import SampleRange, extend_span, find_non_silent_span, slice_blocks
from preprocess.frames.framing import Samples
from recipe import Features


class ClipAudio:
    """The sound of one file at the recipe's rate. Iterating, as often as wanted, raises DecodeError.

    So it does where the file is longer than `max_duration_s`, as soon as this is known.
    """

    def __init__(self, path: str, features: Features, max_duration_s: float = math.inf) -> None:
        self.path, self.features, self.max_duration_s, self.n_samples = path, features, max_duration_s, 0
        self._decoded = ReplayableBlocks(lambda: self._count_samples(decode_blocks(path, features.sample_rate_hz)))
        self._sample_range: SampleRange | None = None

    def _count_samples(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        n_samples = 0
        for block in blocks:
            n_samples += len(block)
            if n_samples > self.max_duration_s * self.features.sample_rate_hz:
                raise DecodeError(self.path, f"it is longer than {self.max_duration_s / 60:g} minutes")
            yield block
        self.n_samples = n_samples

    @property
    def duration_s(self) -> float:
        """Of the file; known once the sound has been heard."""
        return self.n_samples / self.features.sample_rate_hz

    @property
    def start_s(self) -> float:
        """Where in the file the sound begins; below zero where silence was put before it."""
        return self._sample_range.start / self.features.sample_rate_hz if self._sample_range else 0.0

    def __iter__(self) -> Iterator[Samples]:
        if self.features.trim_top_db is None and not self.features.min_seconds:
            return iter(self._decoded)
        self._sample_range = self._sample_range or self._find_range()
        return slice_blocks(self._decoded, self._sample_range)

    def _find_range(self) -> SampleRange:
        """The first hearing, which finds out what to cut and what to add."""
        if self.features.trim_top_db is None:
            non_silent = SampleRange(0, sum(map(len, self._decoded)))
        else:
            non_silent = find_non_silent_span(self._decoded, self.features.trim_top_db)
        sample_range = SampleRange(non_silent.start, min(non_silent.stop, self.n_samples))
        return extend_span(
            sample_range, self.n_samples, round(self.features.min_seconds * self.features.sample_rate_hz)
        )
