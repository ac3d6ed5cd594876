"""How a script starts and ends: streams open, files enough, and one line for what users can mend."""

import os
import resource
import sys
from collections.abc import Callable
from typing import NoReturn

from core.errors import UserError, is_out_of_memory

MAX_OPEN_FILES = 1 << 16
"""Open files of a process that we ask for; a worker takes up to six."""
OUT_OF_MEMORY_ADVICE = "end what else fills it, or try fewer --jobs, smaller batches, shorter crops and windows"


def exit_with_error(message: str, status: int = 2) -> NoReturn:
    """Print `message` as one line on standard error and leave with `status`."""
    print("earmark: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(status)


def log_warning(message: str) -> None:
    """Print `message` as one line on standard error, and go on."""
    print(f"warning: {message}", file=sys.stderr)


def reopen_closed_streams() -> None:
    """Open what the caller has closed of standard input, output and error: another file would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def raise_open_file_limit() -> None:
    """Raise the limit of open files as far as this user may: common ones suit a hundred workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    target = MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(MAX_OPEN_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < target:
        resource.setrlimit(resource.RLIMIT_NOFILE, (target, hard))


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main`; UserError, a full disk and full memory become one line and exit 2, an interrupt 130."""
    try:
        reopen_closed_streams()
        raise_open_file_limit()
        status = main()
    except UserError as error:
        exit_with_error(str(error))
    except KeyboardInterrupt:
        exit_with_error("interrupted; what was finished is kept, run the same command again to go on", 130)
    except BrokenPipeError:  # the reader of a pipe, as head, has had enough; the exit must not write to it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:  # a full disk, a folder that may not be written to
        where = f"{error.filename}: " if error.filename else ""
        exit_with_error(f"{where}{error.strerror or error}; make room or mend it, and run the same command again")
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        which = str(error).splitlines()[0] if str(error) else "of this machine"
        exit_with_error(f"too little memory ({which}): {OUT_OF_MEMORY_ADVICE}")
    raise SystemExit(status or 0)
