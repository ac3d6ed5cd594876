"""Sound that can be heard again, in bounded memory: short sound is kept, long sound is made again."""

from collections.abc import Callable, Iterable, Iterator

from preprocess.frames.framing import Samples

KEPT_SAMPLES = 1 << 22
"""16 MB of float32: a minute and a half at 44.1 kHz."""


class Replay:
    """Blocks of sound, to be iterated over as often as wanted."""

    def __init__(self, make: Callable[[], Iterable[Samples]]) -> None:
        self._make = make
        self._kept: list[Samples] | None = None

    def __iter__(self) -> Iterator[Samples]:
        return iter(self._kept) if self._kept is not None else self._heard()

    def _heard(self) -> Iterator[Samples]:
        """Make the sound, and keep it if it proves short."""
        kept: list[Samples] = []
        n_samples = 0
        for block in self._make():
            n_samples += len(block)
            if n_samples <= KEPT_SAMPLES:
                kept.append(block)
            else:
                kept.clear()
            yield block
        if n_samples <= KEPT_SAMPLES:
            self._kept = kept
