"""One process at a time in a folder; the lock of a process that was killed is free."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from errors import BadInput


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, created if need be. Raises BadInput where another process does."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise BadInput(f"{folder}: another make features is at work there; wait for it or end it") from None
        yield
