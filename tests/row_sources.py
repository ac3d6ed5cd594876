"""Rows of a store whose frames are in memory."""

from pathlib import Path

import numpy as np
import xxhash

from preprocess.store.schema import EncodedFrames, Row
from preprocess.store.writer import RowSource


def frames_digest(frames: EncodedFrames) -> str:
    return xxhash.xxh3_128_hexdigest(np.ascontiguousarray(frames).data)


def row_source_of(
    frames: EncodedFrames,
    origin: Path,
    clip: str,
    variant: int = 0,
    source: str = "1:1",
    start_s: float = 0.0,
    duration_s: float = 1.0,
    warning: str = "",
) -> RowSource:
    """A row of these frames."""

    def read_into(start: int, out: EncodedFrames) -> None:
        out[:] = frames[start : start + len(out)]

    row = Row(clip, variant, source, start_s, duration_s, len(frames), frames_digest(frames), warning)
    return RowSource(row, read_into, origin)
