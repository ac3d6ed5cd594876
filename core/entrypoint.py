"""How a script starts, logs and ends: errors that users can fix become one line and an exit status."""

import locale
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from io import TextIOWrapper
from typing import NoReturn

from tqdm import tqdm

from core.errors import UserError, is_out_of_memory

MAX_OPEN_FILES = 1 << 16
OUT_OF_MEMORY_ADVICE = "end what else fills it, or try fewer --jobs, smaller batches, shorter crops and windows"
RESUME_ADVICE = "what was finished is kept, run the same command again to go on"


def exit_with_error(message: str, status: int = 2) -> NoReturn:
    """Print `message` as one line on standard error and exit with `status`."""
    print("earmark: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(status)


class StderrHandler(logging.Handler):
    """Writes messages to the current standard error, above a progress bar there, with "warning: " before warnings."""

    def emit(self, record: logging.LogRecord) -> None:
        prefix = "" if record.levelno == logging.INFO else f"{record.levelname.lower()}: "
        tqdm.write(prefix + record.getMessage(), file=sys.stderr)


@cache
def get_logger() -> logging.Logger:
    """The logger of all scripts."""
    logger = logging.getLogger("earmark")
    logger.addHandler(StderrHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
    return logger


def log_warning(message: str) -> None:
    get_logger().warning(message)


def raise_open_file_limit() -> None:
    """Raise the limit of open files as far as this user may: common limits are too low for a hundred workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a script as Ctrl-C does."""


@contextmanager
def raise_at_sigterm() -> Iterator[None]:
    """Have SIGTERM raise Terminated in this process, not in forked ones, unless it is handled or ignored already."""
    if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    owner = os.getpid()

    def handle(number: int, _: object) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def use_utf8() -> None:
    """Start the process again in Python's UTF-8 mode where the locale has another encoding: paths are UTF-8 then. What
    the streams cannot encode is escaped.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.ignore_environment:
        streams = os.environ.get("PYTHONIOENCODING") or f"{locale.getpreferredencoding(False)}:backslashreplace"
        os.execve(sys.executable, sys.orig_argv, os.environ | {"PYTHONUTF8": "1", "PYTHONIOENCODING": streams})
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run_script(main: Callable[[], int | None], resume_advice: str = RESUME_ADVICE) -> NoReturn:
    """Run a script's `main`; UserError, a full disk and full memory become one line and exit 2.

    Ctrl-C and SIGTERM become one line, and exit as in a shell: 130 and 143. `resume_advice` says what is kept.
    """
    use_utf8()
    try:
        raise_open_file_limit()
        with raise_at_sigterm():
            status = main()
    except UserError as error:
        exit_with_error(str(error))
    except KeyboardInterrupt as interrupt:
        exit_with_error(f"interrupted; {resume_advice}", 143 if isinstance(interrupt, Terminated) else 130)
    except BrokenPipeError:  # the reader of a pipe, as head, has ended; flushing at exit must not write to it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:  # a full disk, a folder without write permission
        where = f"{error.filename}: " if error.filename else ""
        exit_with_error(f"{where}{error.strerror or error}; make room or mend it; {resume_advice}")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        which = str(error).splitlines()[0] if str(error) else "of this machine"
        exit_with_error(f"too little memory ({which}): {OUT_OF_MEMORY_ADVICE}")
    raise SystemExit(status or 0)
