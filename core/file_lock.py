"""A lock file: one process at a time works in a folder."""

from collections.abc import Iterator
from contextlib import contextmanager
from errno import ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP
from pathlib import Path

from filelock import FileLock, Timeout

from core.entrypoint import get_logger
from core.errors import UserError

NO_LOCKS = (ENOLCK, ENOSYS, ENOTSUP, EOPNOTSUPP)
"""Errors of file systems that have no locks."""


@contextmanager
def file_lock(path: Path, command_name: str) -> Iterator[None]:
    """Hold a lock file, created with its folder if need be; a process that is killed frees it.

    Raises UserError where another process holds it. Goes on with a warning where the file system has no locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Its soft lock is a file that a killed process leaves behind.
    lock = FileLock(path, timeout=0, fallback_to_soft=False)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(f"{path.parent}: another {command_name} is at work there; wait for it or end it") from None
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        get_logger().warning(
            f"{path.parent}: this file system has no locks ({error.strerror}): run no other {command_name} meanwhile"
        )
    try:
        yield
    finally:
        lock.release()
