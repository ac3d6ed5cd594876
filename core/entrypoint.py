"""How a script starts, logs and ends: errors that users can fix become one line and an exit status.

Scripts import this module before all others, for those take seconds, and this one readies the process for them.
"""

import os
import signal
import sys


def exit_at_once(number: int, _: object) -> None:
    """End this process by a signal that comes before or after a script's `main`, when there is nothing to clean up."""
    try:
        os.write(2, b"earmark: interrupted\n")
    finally:
        os._exit(128 + number)


def is_script() -> bool:
    """Whether this process was started by `python -m` with a module of this project."""
    spec, here = getattr(sys.modules["__main__"], "__spec__", None), __name__.replace(".", os.sep)
    return spec is not None and spec.origin == __file__.replace(here, spec.name.replace(".", os.sep))


if is_script():  # before the other imports, during which users press Ctrl-C as well
    os.environ["MPLBACKEND"] = "agg"  # a notebook names a backend that only its own environment has
    for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
        if signal.getsignal(number) == default:
            signal.signal(number, exit_at_once)

import locale
import logging
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import TextIOWrapper
from typing import NoReturn

from tqdm import tqdm

from core.errors import UserError, is_out_of_memory

MAX_OPEN_FILES = 1 << 16
OUT_OF_MEMORY_ADVICE = "end what else fills it, or try fewer --jobs, smaller batches, shorter crops and windows"
RESUME_ADVICE = "what was finished is kept, run the same command again to go on"
RESTART_ADVICE = "the same command begins anew"


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
        with suppress(ValueError):  # a system may allow less than its hard limit says
            resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends a script as Ctrl-C does."""


@contextmanager
def raise_at_signals() -> Iterator[None]:
    """Have SIGINT raise KeyboardInterrupt, and SIGTERM Terminated, unless they are handled or ignored already.

    A forked process ends by SIGTERM.
    """
    owner = os.getpid()

    def handle_sigterm(number: int, _: object) -> None:
        if os.getpid() == owner:
            raise Terminated
        signal.signal(number, signal.SIG_DFL)
        signal.raise_signal(number)

    handlers = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: handle_sigterm}
    before = {number: signal.getsignal(number) for number in handlers}
    changed = {number: handler for number, handler in before.items() if handler in (exit_at_once, signal.SIG_DFL)}
    try:
        for number in changed:
            signal.signal(number, handlers[number])
        yield
    finally:
        for number, handler in changed.items():
            signal.signal(number, handler)


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


def run_script(main: Callable[[], int | None], resume_advice: str = RESTART_ADVICE) -> NoReturn:
    """Run a script's `main`; UserError, a full disk and full memory become one line and exit 2.

    Ctrl-C and SIGTERM become one line, and exit as in a shell: 130 and 143. `resume_advice` says how to go on.
    """
    use_utf8()
    try:
        raise_open_file_limit()
        with raise_at_signals():
            status = main()
        sys.stdout.flush()
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


if is_script():
    use_utf8()
