"""One recording as sound for a transform."""

from collections.abc import Iterator
from pathlib import Path

from preprocess.decode import Samples, decode_blocks
from recipe import Features


class Recording:
    """The sound of one file at the recipe's rate."""

    def __init__(self, path: Path | str, features: Features) -> None:
        self.path, self.rate_hz = path, features.rate_hz
        self.start_s = self.duration_s = 0.0

    def blocks(self) -> Iterator[Samples]:
        """Yield the sound in blocks; `duration_s` is known after the last. Raises DecodeError."""
        n_samples = 0
        for block in decode_blocks(self.path, self.rate_hz):
            n_samples += len(block)
            yield block
        self.duration_s = n_samples / self.rate_hz
