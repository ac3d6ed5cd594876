"""What tests have sandboxes do with a recording. A child imports this module by its name."""

import os
import resource
from collections.abc import Iterator
from pathlib import Path

from core.errors import UserError
from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks


class LocalBug:
    """Something that raises what cannot be pickled."""

    def __call__(self) -> None:
        class UnknownError(Exception):
            pass

        raise UnknownError("of a library")


def read_as_named(path: str, *words: str) -> Iterator[str]:
    """Yield words, and do what the name of the recording says."""
    yield from words
    name = Path(path).name
    if name == "damaged":
        raise DecodeError(path, "damaged at\n 1 s")
    if name == "gone":
        raise DecodeError(path, "cannot be opened", transient=True)
    if name == "bug":
        raise ZeroDivisionError("a bug")
    if name == "unknown bug":
        LocalBug()()
    if name == "disk":
        raise OSError(28, "No space left on device", "a.shard")
    if name == "user":
        raise UserError("a bad recipe")
    if name == "memory":
        bytearray(1 << 40)
    if name == "crash":
        os.abort()


def count_letters(path: str) -> int:
    (word,) = read_as_named(path, Path(path).name)
    return len(word)


def measure_decoding(path: str, sample_rate_hz: int) -> tuple[int, int, int]:
    """Samples of a recording, the most in one block, and the MiB that decoding took at most beyond those before."""
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    lengths = [len(block) for block in decode_blocks(path, sample_rate_hz)]
    return sum(lengths), max(lengths), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib) >> 10
