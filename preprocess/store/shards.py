"""A part of a store in the making: the frames of some clips as they come, and at its end what they are of.

Parts are no HDF5: a file of it takes 4 ms to make, and its frames would have to wait until their number is known.
"""

import json
import math
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple
from io import BufferedRandom
from pathlib import Path

import numpy as np
import xxhash

from core.files import written_whole
from preprocess.frames.framing import Frames
from preprocess.store.encoding import coding_of, encode
from preprocess.store.schema import READ_BYTES, Coding, Damaged, OtherRecipe, Row, differences, fingerprint
from recipe import Features, as_dict

BLOCK_FRAMES = 4096
"""Frames handled at once."""
MAGIC = b"earmark part\x00\x01\r\n"
_END = struct.Struct("<Q16s16s")
"""Bytes of the table before it, their digest, and MAGIC."""


class Part:
    """Rows of frames in an open file. An OSError from here is the disk's, never a recording's."""

    def __init__(self, file: BufferedRandom, features: Features, coding: Coding) -> None:
        self.features, self.coding = features, coding
        self.rows: list[Row] = []
        self._file, self._frame_bytes = file, coding.n_bins * coding.dtype.itemsize
        self._open_row()

    def _open_row(self) -> None:
        self._n_frames, self._hasher = 0, xxhash.xxh3_128()
        self._waiting: list[Frames] = []
        self._floor, self._floor_written = -math.inf, math.inf

    def add(self, frames: Frames) -> None:
        """Append frames [n_frames, n_bins], as values, to the row being filled."""
        self._waiting.append(frames)
        if len(frames) and self.features.top_db is not None:
            self._floor = max(self._floor, float(frames.max()) - self.features.top_db)
        if sum(map(len, self._waiting)) >= BLOCK_FRAMES:  # a row shorter than that is written but once
            self._write_waiting()

    def _write_waiting(self) -> None:
        """Write the frames that wait, no lower than the floor as far as it is known."""
        for frames in self._waiting:
            stored = encode(frames, self.coding, self._floor)
            self._file.write(stored.data)
            self._hasher.update(stored.data)
            self._n_frames += len(stored)
            self._floor_written = min(self._floor_written, self._floor)
        self._waiting = []

    def end_row(self, clip: str, variant: int, source: str, start_s: float, duration_s: float) -> None:
        """Name the row being filled, and begin the next."""
        self._write_waiting()
        if self._floor_written < self._floor:
            self._raise_to(self._floor)
        row = Row(clip, variant, source, start_s, duration_s, self._n_frames, self._hasher.hexdigest())
        self.rows.append(row)
        self._open_row()

    def _raise_to(self, floor: float) -> None:
        """Raise the values of the row being filled to `floor`; the clip's highest is known only at its end."""
        first, self._hasher = sum(row.n_frames for row in self.rows), xxhash.xxh3_128()
        stored_floor = encode(np.array([floor], np.float32), self.coding)
        for start in range(0, self._n_frames, BLOCK_FRAMES):
            block = np.empty((min(BLOCK_FRAMES, self._n_frames - start), self.coding.n_bins), self.coding.dtype)
            at = (first + start) * self._frame_bytes
            self._file.seek(at)
            self._file.readinto(block.data)
            np.maximum(block, stored_floor, out=block)
            self._file.seek(at)
            self._file.write(block.data)
            self._hasher.update(block.data)

    def cut(self, n_rows: int) -> None:
        """Forget all but the first rows."""
        del self.rows[n_rows:]
        self._file.seek(sum(row.n_frames for row in self.rows) * self._frame_bytes)
        self._file.truncate()
        self._open_row()

    def _write_table(self) -> None:
        table = {
            "features": as_dict(self.features),
            "fingerprint": fingerprint(self.features),
            "rows": [astuple(row) for row in self.rows],
        }
        text = json.dumps(table).encode()
        self._file.write(text + _END.pack(len(text), xxhash.xxh3_128_digest(text), MAGIC))


@contextmanager
def written_part(path: Path, features: Features) -> Iterator[Part]:
    """Yield a part to be filled, which appears under its name when it is whole, and not after an exception."""
    with written_whole(path, lasting=False) as temporary, temporary.open("w+b") as file:
        part = Part(file, features, coding_of(features))
        yield part
        part._write_table()


def read_part(path: Path, features: Features) -> tuple[list[Row], set[str]]:
    """The rows of a part, whose frames stand in it end to end, and the clips whose frames are damaged.

    Raises Damaged where what they are cannot be told, and OtherRecipe.
    """
    coding = coding_of(features)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size))
        end = file.read()
        n_bytes, digest, magic = _END.unpack(end) if len(end) == _END.size else (0, b"", b"")
        if magic != MAGIC or n_bytes > size - _END.size:
            raise Damaged(path, "it does not end as a part does")
        file.seek(size - _END.size - n_bytes)
        text = file.read(n_bytes)
        if xxhash.xxh3_128_digest(text) != digest:
            raise Damaged(path, "its table is damaged")
        table = json.loads(text)
        if table["fingerprint"] != fingerprint(features):
            raise OtherRecipe(path, differences(table["features"], features))
        rows, damaged = [Row(*row) for row in table["rows"]], set[str]()
        file.seek(0)
        for row in rows:
            hasher, left = xxhash.xxh3_128(), row.n_frames * coding.n_bins * coding.dtype.itemsize
            while left and (block := file.read(min(left, READ_BYTES))):
                hasher.update(block)
                left -= len(block)
            if hasher.hexdigest() != row.digest:
                damaged.add(row.clip)
    return rows, damaged
