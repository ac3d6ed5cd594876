"""Decoders that fail at recordings named for it, as the sandboxes of a test have them (tests/conftest.py)."""

import ctypes
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

from core.sandbox import _Progress, report_progress
from preprocess.audio import clip_audio, decode, decode_soundfile
from preprocess.build import frame_stream
from preprocess.frames import framing
from preprocess.frames.framing import Samples

_decode_blocks = decode.decode_blocks
SMALL_VALUES = 1 << 12
"""Of a block: half a second at 8 kHz."""


def decode_blocks(
    path: Path | str, sample_rate_hz: int, channel: str | int = "mean", warnings: list[str] | None = None
) -> Iterator[Samples]:
    """Blocks of a recording; one named `crashes2.wav` ends its process at the third block."""
    fault = re.match(r"(hangs|crashes|dies_once|needs_memory|has_a_fault)(\d*)", Path(path).name)
    for number, block in enumerate(_decode_blocks(path, sample_rate_hz, channel, warnings)):
        if fault and number == int(fault[2] or 0):
            _fail(fault[1], Path(path))
        yield block


def _fail(fault: str, path: Path) -> None:
    if fault == "hangs":
        Path(f"{os.environ['MARK_OF_HANGING']}{os.getpid()}").touch()
        _Progress.reported_s = 0.0
        report_progress()  # the parent may look for the mark
        ctypes.PyDLL(None).usleep(60_000_000)  # in C code that holds the interpreter
    elif fault == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    elif fault == "dies_once" and not (mark := path.with_suffix(".died")).exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    elif fault == "needs_memory":
        bytearray(1 << 40)
    elif fault == "has_a_fault":
        raise ZeroDivisionError("division by zero")


def install() -> None:
    """Have this process decode by `decode_blocks`, in many small blocks."""
    decode.decode_blocks = clip_audio.decode_blocks = decode_blocks  # type: ignore[attr-defined]
    for module in (decode, decode_soundfile):
        module.BLOCK_VALUES = SMALL_VALUES  # type: ignore[attr-defined]
    framing.BATCH_VALUES = SMALL_VALUES
    frame_stream.BLOCK_VALUES = 1 << 9  # type: ignore[attr-defined]
