"""Sound that can be heard again, in bounded memory: short sound is kept, long sound is made again."""

from collections.abc import Callable, Iterable, Iterator

from preprocess.frames.framing import Samples

MAX_CACHED_SAMPLES = 1 << 22
"""16 MB of float32: a minute and a half at 44.1 kHz."""


class ReplayableBlocks:
    """Blocks of sound, to be iterated over as often as wanted."""

    def __init__(self, make: Callable[[], Iterable[Samples]]) -> None:
        self._make = make
        self._cached: list[Samples] | None = None

    def __iter__(self) -> Iterator[Samples]:
        return iter(self._cached) if self._cached is not None else self._generate_and_keep()

    def _generate_and_keep(self) -> Iterator[Samples]:
        """Make the sound, and keep it if it proves short."""
        cached: list[Samples] = []
        n_samples = 0
        for block in self._make():
            n_samples += len(block)
            if n_samples <= MAX_CACHED_SAMPLES:
                cached.append(block)
            else:
                cached.clear()
            yield block
        if n_samples <= MAX_CACHED_SAMPLES:
            self._cached = cached
