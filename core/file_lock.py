"""One process at a time at some work; the lock of a process that was killed is free."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from core.errors import UserError


@contextmanager
def file_lock(path: Path, command_name: str) -> Iterator[None]:
    """Hold a lock file, created with its folder if need be. Raises UserError where another process does."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UserError(f"{path.parent}: another {command_name} is at work there; wait for it or end it") from None
        yield
