"""A part of a store in the making: frames wait in memory, or in a temporary file when they are many."""

import math
from functools import partial
from pathlib import Path
from tempfile import SpooledTemporaryFile

import numpy as np
import xxhash

from preprocess.coding import Frames, encode
from preprocess.store import Coding, Row, Stored
from preprocess.store_writer import Piece, write_store
from recipe import Features

MEMORY_BYTES = 1 << 24
"""Frames beyond this wait on the disk: 16 MB, a quarter of an hour of sound as 128 float16 bins."""

BLOCK_FRAMES = 4096
"""Frames handled at once."""


class Part:
    """Rows of frames, to be written as a store. An OSError from here is the disk's, never a recording's."""

    def __init__(self, path: Path, features: Features, coding: Coding) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path, self.features, self.coding = path, features, coding
        self.rows: list[Row] = []
        self._frame_bytes = coding.n_bins * coding.dtype.itemsize
        self._spool = SpooledTemporaryFile(MEMORY_BYTES, dir=str(path.parent))  # noqa: SIM115 (write closes it)
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
        """Put the frames that wait into the spool, no lower than the floor as far as it is known."""
        for frames in self._waiting:
            stored = encode(frames, self.coding, self._floor)
            self._spool.write(stored.data)
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
            self._fill(first, start, block)
            np.maximum(block, stored_floor, out=block)
            self._spool.seek((first + start) * self._frame_bytes)
            self._spool.write(block.data)
            self._hasher.update(block.data)

    def cut(self, n_rows: int) -> None:
        """Forget all but the first rows."""
        del self.rows[n_rows:]
        self._spool.seek(sum(row.n_frames for row in self.rows) * self._frame_bytes)
        self._spool.truncate()
        self._open_row()

    def _fill(self, first: int, start: int, out: Stored) -> None:
        """Frames from `start` on of the row that begins with frame `first`."""
        self._spool.seek((first + start) * self._frame_bytes)
        self._spool.readinto(out.data)

    def write(self) -> int:
        """Write the rows under the part's name, and let go of the frames; return where in it they are, in bytes."""
        starts = np.cumsum([0, *(row.n_frames for row in self.rows)]).tolist()
        with self._spool:
            pieces = [
                Piece(row, partial(self._fill, start), self.path)
                for row, start in zip(self.rows, starts[:-1], strict=True)
            ]
            return write_store(self.path, self.features, self.coding, pieces, lasting=False)
