"""A lock file: one process at a time works in a folder."""

from core.entrypoint import log_warning

from contextlib import AbstractContextManager, nullcontext
from errno import ENOLCK, ENOSYS, ENOTSUP
from pathlib import Path

from filelock import FileLock, Timeout

from core.errors import UserError


def file_lock(path: Path, command_name: str, timeout_s: float = 0.0) -> AbstractContextManager[object]:
    """Take the lock of a file, until the context returned ends, or the process does.

    Raises UserError if it is held by another for longer than `timeout_s`.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return FileLock(
            path, timeout=timeout_s, fallback_to_soft=False
        ).acquire()  # a soft lock outlives a killed process
    except Timeout:
        raise UserError(f"{path.parent}: another {command_name} is at work there; wait for it or end it") from None
    except OSError as error:
        if error.errno not in (ENOLCK, ENOSYS, ENOTSUP):
            raise
        reason = f"this file system has no locks ({error.strerror})"
        log_warning(f"{path.parent}: {reason}: run no other {command_name} meanwhile")
        return nullcontext()
