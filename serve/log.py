"""Lines on standard output, written by a thread of its own: a terminal that is held, or gone, holds up no answer."""

import os
import queue
import sys
import threading
from contextlib import suppress
from typing import Self

MAX_LINES = 1000
"""Lines that wait; more are dropped."""
WAIT_S = 1.0
"""How long the last lines may take."""


class LineLogger:
    """Leaving `with` waits for the last lines, but not for long."""

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue(MAX_LINES)
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.line(None)
        self._thread.join(WAIT_S)

    def line(self, text: str | None) -> None:
        """One line, which may come later, or not at all; None is the end of them."""
        with suppress(queue.Full):
            self._lines.put_nowait(text)

    def _write(self) -> None:
        encoding = sys.stdout.encoding or "utf-8"
        while (text := self._lines.get()) is not None:
            # Not by sys.stdout: where this thread waits for a terminal, the interpreter could not end.
            with suppress(OSError):
                os.write(1, f"{text}\n".encode(encoding, "backslashreplace"))
