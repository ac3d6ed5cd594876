"""Writes the calls of the project's functions, in all threads, to a file of each process in $TRACE_FOLDER."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FrameType
from typing import TextIO

ROOT = Path(__file__).parents[1]
FLOORS = ("core", "recipe", "preprocess", "train", "predict")


def name_of(code: CodeType) -> str:
    """Module and function; nothing for what is not the project's, and for class bodies and comprehensions."""
    path, is_function = Path(code.co_filename), code.co_flags & 1 and not code.co_name.startswith("<")
    if not is_function or not path.is_relative_to(ROOT) or path.relative_to(ROOT).parts[0] not in FLOORS:
        return ""
    return f"{path.relative_to(ROOT)} {code.co_qualname}"


def install() -> TextIO:
    """Write the calls of this process from now on."""
    out = (Path(os.environ["TRACE_FOLDER"]) / f"{os.getpid()}.txt").open("a", buffering=1)
    names: dict[CodeType, str] = {}  # the hook is called for every function of every library

    def hook(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            code = frame.f_code
            name = names.get(code)
            if name is None:
                name = names[code] = name_of(code)
            if name:
                out.write(f"{time.monotonic()} {name}\n")

    sys.setprofile(hook)
    threading.setprofile(hook)
    return out


@contextmanager
def tracing() -> Iterator[None]:
    """Write the calls of this process within."""
    with install():
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
