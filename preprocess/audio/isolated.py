"""Recordings read in sandboxes: one that crashes, hangs or exhausts its decoder costs itself alone."""

import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from typing import Any, TypeVar

from core.errors import UserError
from core.parallel import run_parallel
from core.sandbox import Cancelled, SandboxError, SandboxLimits, run_isolated
from preprocess.audio.blocks import DecodeError, UnexpectedError
from recipe import Data

Result = TypeVar("Result")

MIN_ERRORS = 3
"""Recordings that must meet an unexpected error, and none be read, for it to be no recording's."""


def decoder_limits(data: Data) -> SandboxLimits:
    """What the process that decodes a recording may use."""
    return SandboxLimits(max_memory_bytes=round(data.decoder_memory_gb * 2**30))


def read_isolated(
    function: Callable[..., Any],
    path: str,
    *arguments: Any,
    limits: SandboxLimits,
    cancelled: threading.Event | None = None,
) -> Iterator[Any]:
    """Yield what `function(path, *arguments)` yields, or returns, in a sandbox.

    Raises DecodeError: what the function raises, or that its process died; UnexpectedError for any other exception but
    OSError, which is the disk's; Cancelled.
    """
    try:
        yield from run_isolated(function, path, *arguments, limits=limits, cancelled=cancelled)
    except SandboxError as error:
        raise DecodeError(path, error.reason, error.transient) from None
    except (DecodeError, OSError, UserError, Cancelled, GeneratorExit):
        raise
    except Exception as error:
        name = "" if type(error).__name__ == "TaskError" else f"{type(error).__name__}: "
        raise UnexpectedError(path, f"{name}{error}") from None


class ErrorTally:
    """Tells a fault of the program from one of a recording: the first is met by all of them."""

    def __init__(self) -> None:
        self.n_read, self.errors = 0, list[UnexpectedError]()

    def add(self, error: DecodeError | None) -> None:
        """One more recording is done with. Raises UserError where none was read, and some met an unexpected error."""
        self.n_read += error is None
        if isinstance(error, UnexpectedError):
            self.errors.append(error)
        if not self.n_read and len(self.errors) >= MIN_ERRORS:
            raise UserError(f"every recording fails, so the fault is not theirs; the first: {self.errors[0]}")


def read_each(
    function: Callable[..., Result], paths: Sequence[str], *arguments: Any, n_jobs: int, limits: SandboxLimits
) -> Generator[tuple[int, Result | DecodeError]]:
    """Yield (index of the path, `function(path, *arguments)` or why there is none), as recordings are done.

    Raises UserError where every recording meets an unexpected error.
    """

    def read(index: int) -> tuple[int, Result | DecodeError]:
        try:
            (value,) = read_isolated(function, paths[index], *arguments, limits=limits)
        except DecodeError as error:
            return index, error
        return index, value

    tally = ErrorTally()
    with closing(run_parallel(read, range(len(paths)), n_jobs)) as results:
        for index, result in results:
            tally.add(result if isinstance(result, DecodeError) else None)
            yield index, result
