"""What decoding gives: blocks of sound, or the reason why there are none."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from preprocess.frames.framing import Samples

Block = tuple[int, Samples]
"""A rate in Hz, and mono samples at it."""
BLOCK_VALUES = 1 << 18
"""Values (samples x channels) read at once: 1 MB, 6 s of 44.1 kHz mono."""


class DecodeError(Exception):
    """A recording at `path` that cannot be read, for a `reason` in words.

    `transient` where the file itself may be sound: it is missing, may not be read, or a disk fails.
    """

    def __init__(self, path: Path | str, reason: str, transient: bool = False) -> None:
        super().__init__(path, reason, transient)
        self.path, self.reason, self.transient = Path(path), " ".join(reason.split()), transient

    def __str__(self) -> str:
        return f"{self.path}: {self.reason}"


class UnexpectedError(DecodeError):
    """An error of the program or a package, which no recording is blamed for; it is always transient."""


class InvalidAudio(Exception):
    """Why a file is no recording, or is damaged."""


class FailedRead(InvalidAudio):
    """Why a file that is sound could not be read this time."""


class UnknownFormat(InvalidAudio):
    """A format or codec that a decoder does not know."""


def merge_blocks(blocks: Iterable[Samples], n_values: int) -> Iterator[Samples]:
    """Join the arrays `blocks` along their first axis into ones of `n_values` values or somewhat more."""
    pending: list[Samples] = []
    for block in blocks:
        pending.append(block)
        if sum(each.size for each in pending) >= n_values:
            yield np.concatenate(pending)
            pending = []
    if pending:
        yield np.concatenate(pending)
