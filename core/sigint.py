"""Child processes that ignore SIGINT: Ctrl-C is their parent's to handle, which ends them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def ignore_sigint() -> Iterator[None]:
    """Processes started within ignore SIGINT, not even while they import. For the main thread."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
