"""What tests have sandboxes do. A child imports this module by its name."""

import ctypes
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from core import sandbox

WORDS = ["one", "two", "three"]


class TwoPartError(Exception):
    """An exception that is unpickled with both of its parts."""

    def __init__(self, name: str, number: int) -> None:
        super().__init__(name, number)
        self.name, self.number = name, number


class OutOfMemoryError(RuntimeError):
    """As PyTorch has it, for a GPU."""


class UnpicklableError(Exception):
    """An exception that is pickled, and fails when it is unpickled."""

    def __init__(self, name: str, *, number: int) -> None:
        super().__init__(f"{name} {number}")


def yield_words() -> Iterator[str]:
    yield from WORDS


def yield_pid() -> Iterator[int]:
    yield os.getpid()


def yield_environment(name: str) -> Iterator[str]:
    yield os.environ[name]


def yield_forever() -> Iterator[int]:
    while True:
        yield os.getpid()


def print_to_stderr(text: str) -> Iterator[str]:
    os.write(2, text.encode())
    yield text


def sleep_in_c(seconds: float) -> None:
    """Sleep in C code that holds the interpreter, as a decoder may."""
    ctypes.PyDLL(None).usleep(round(seconds * 1e6))


def hang() -> Iterator[str]:
    yield "begun"
    sleep_in_c(60)


def hang_in_python() -> Iterator[str]:
    yield "begun"
    time.sleep(60)


def ignore_signals_and_hang() -> Iterator[str]:
    """Hang in C code with every signal ignored that can be."""
    for number in sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}):
        signal.signal(number, signal.SIG_IGN)
    yield "begun"
    sleep_in_c(60)


def work_slowly(n_steps: int, step_s: float, report: bool) -> Iterator[str]:
    sandbox.PROGRESS_INTERVAL_S = 0.05
    for _ in range(n_steps):
        time.sleep(step_s)
        if report:
            sandbox.report_progress()
    sandbox.PROGRESS_INTERVAL_S = 1.0
    yield "done"


def raise_error(error: Exception) -> Iterator[NoReturn]:
    yield from ()
    raise error


def raise_unpicklable(kind: str) -> Iterator[NoReturn]:
    class LocalError(Exception):
        pass

    yield from ()
    if kind == "local class":
        raise LocalError("of a function")
    if kind == "fails when unpickled":
        raise UnpicklableError("number", number=3)
    raise ValueError(lambda: None)


def yield_unpicklable() -> Iterator[Any]:
    yield "before"
    yield lambda: None


def die(how: str) -> None:
    """End this process."""
    if how == "SIGSEGV":
        ctypes.string_at(0)
    if how == "abort":
        os.abort()
    if how == "_exit":
        os._exit(3)
    if how == "sys.exit":
        sys.exit(4)
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(60)


def yield_then_die(how: str) -> Iterator[str]:
    yield "begun"
    die(how)


def die_at_first(how: str, mark: str, dies_after: int) -> Iterator[str]:
    """Yield WORDS; die after some of them, but for the second time, when `mark` is there."""
    for index, word in enumerate(WORDS):
        if index == dies_after and not Path(mark).exists():
            Path(mark).touch()
            die(how)
        yield word


def die_differently(mark: str, first: str, then: str) -> Iterator[str]:
    """Die in one way, and the second time, when `mark` is there, in another."""
    yield from ()
    there = Path(mark).exists()
    Path(mark).touch()
    die(then if there else first)


def die_within_an_item(mark: str) -> Iterator[bytes]:
    """Die while an item larger than the pipe is under way, but not the second time, when `mark` is there."""
    yield b"small"
    if not Path(mark).exists():
        Path(mark).touch()
        threading.Timer(0.2, os.abort).start()
    yield bytes(1 << 24)


def use_memory(n_bytes: int) -> Iterator[int]:
    yield len(bytearray(n_bytes))


def slow_square(number: int) -> int:
    """The square, after a while."""
    time.sleep(0.3)
    return number**2


def join_pid(word: str, number: int) -> tuple[str, int]:
    """The arguments as one word, and this process."""
    return f"{word}{number}", os.getpid()


def raise_now(error: Exception) -> NoReturn:
    raise error


def end_process(_: int) -> None:
    """End the process at once, without a word."""
    os._exit(1)
