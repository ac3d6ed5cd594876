"""The one kind of error a user is meant to read: a line that names the thing and says what to do."""

import os
import sys
from collections.abc import Callable
from typing import NoReturn


class BadInput(Exception):
    """What the user gave cannot be used. The message is one line: the file, key or value, and what to do."""


SPARING = "end what else fills it, or try fewer --jobs, smaller batches, shorter crops and windows"


def stop(message: str, status: int = 2) -> NoReturn:
    """Print `message` as one line on standard error and leave with `status`."""
    print("earmark: " + " ".join(message.split()), file=sys.stderr)
    raise SystemExit(status)


def is_want_of_memory(error: BaseException) -> bool:
    """Whether there was too little memory, on the host or on a GPU; another time there may be enough.

    PyTorch's errors go by name and words: it takes seconds to import, and not every script needs it.
    """
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "DefaultCPUAllocator: can't allocate memory" in str(error)
    )


def run_script(main: Callable[[], int | None]) -> NoReturn:
    """Run a script's `main`; BadInput, a full disk and full memory become one line and exit 2, an interrupt 130."""
    try:
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
