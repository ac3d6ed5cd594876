"""How a script starts and ends: streams open, files enough, and one line for what users can mend."""

import os
import resource
import sys
from collections.abc import Callable
from typing import NoReturn

from core.errors import BadInput, is_want_of_memory

MOST_FILES = 1 << 16
"""Open files of a process that we ask for; a worker takes up to six."""
SPARING = "end what else fills it, or try fewer --jobs, smaller batches, shorter crops and windows"


def stop(message: str, status: int = 2) -> NoReturn:
    """Print `message` as one line on standard error and leave with `status`."""
    print("earmark: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(status)


def warn(message: str) -> None:
    """Print `message` as one line on standard error, and go on."""
    print(f"warning: {message}", file=sys.stderr)


def open_streams() -> None:
    """Open what the caller has closed of standard input, output and error: another file would get its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)  # it gets the lowest number that is free: this one
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def allow_files() -> None:
    """Raise the limit of open files as far as this user may: common ones suit a hundred workers."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST_FILES if hard == resource.RLIM_INFINITY else min(MOST_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main`; BadInput, a full disk and full memory become one line and exit 2, an interrupt 130."""
    try:
        open_streams()
        allow_files()
        status = main()
    except BadInput as error:
        stop(str(error))
    except KeyboardInterrupt:
        stop("interrupted; what was finished is kept, run the same command again to go on", 130)
    except BrokenPipeError:  # the reader of a pipe, as head, has had enough; the exit must not write to it again
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(141) from None
    except OSError as error:  # a full disk, a folder that may not be written to
        where = f"{error.filename}: " if error.filename else ""
        stop(f"{where}{error.strerror or error}; make room or mend it, and run the same command again")
    except (MemoryError, RuntimeError) as error:
        if not is_want_of_memory(error):
            raise
        stop(f"too little memory ({str(error).splitlines()[0] if str(error) else 'of this machine'}): {SPARING}")
    raise SystemExit(status or 0)
