"""Processes deaf to Ctrl-C: it is their parent's to handle, which ends them."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def starting_deaf() -> Iterator[None]:
    """Processes started within never hear of Ctrl-C, not even while they import. For the main thread."""
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
