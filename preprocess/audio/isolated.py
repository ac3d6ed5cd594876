"""Recordings read in sandboxes: one that crashes, hangs or exhausts its decoder costs itself alone."""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from threading import Event
from typing import Any, TypeVar

from core.errors import UserError
from core.parallel import run_parallel
from core.sandbox import Cancelled, SandboxError, SandboxLimits, TaskError, run_isolated
from preprocess.audio.blocks import DecodeError, UnexpectedError
from recipe import Data

Result = TypeVar("Result")

MIN_ERRORS = 3
"""Unexpected errors, with no recording read, after which the program is at fault, and no recording."""


def decoder_limits(data: Data) -> SandboxLimits:
    """What the process that decodes a recording may use."""
    return SandboxLimits(max_memory_bytes=round(data.decoder_memory_gb * 2**30))


def read_isolated(
    function: Callable[..., Any], path: str, *arguments: Any, limits: SandboxLimits, cancelled: Event | None = None
) -> Generator[Any]:
    """Yield what `function(path, *arguments)` yields, or returns, in a sandbox.

    Raises DecodeError where the function does or its process dies, UnexpectedError for other exceptions but OSError,
    which is of the disk, and Cancelled.
    """
    try:
        yield from run_isolated(function, path, *arguments, limits=limits, cancelled=cancelled)
    except Exception as error:
        raise to_decode_error(path, error) from None


def to_decode_error(path: str, error: Exception) -> DecodeError:
    """The DecodeError of a recording whose task ended so. Raises OSError, UserError and Cancelled as they are."""
    match error:
        case DecodeError():
            return error
        case OSError() | UserError() | Cancelled():
            raise error
        case SandboxError():
            return DecodeError(path, error.reason, error.transient)
    name = "" if isinstance(error, TaskError) else f"{type(error).__name__}: "
    return UnexpectedError(path, f"{name}{error}", transient=True)


class ErrorTally:
    """Tells an error of the program, which all recordings meet, from one of a recording."""

    def __init__(self) -> None:
        self.n_read, self.errors = 0, list[UnexpectedError]()

    def add(self, error: DecodeError | None) -> None:
        """Count a recording that was read or met an error. Raises UserError where the program is at fault."""
        self.n_read += error is None
        if isinstance(error, UnexpectedError):
            self.errors.append(error)
        if not self.n_read and len(self.errors) >= MIN_ERRORS:
            raise UserError(f"every recording fails, so the fault is not theirs; the first: {self.errors[0]}")


def read_each(
    function: Callable[..., Result], paths: Sequence[str], *arguments: Any, n_jobs: int, limits: SandboxLimits
) -> Generator[tuple[int, Result | DecodeError]]:
    """Yield the index of each path, and `function(path, *arguments)` or its DecodeError, as recordings are done.

    Raises UserError where the program is at fault.
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
