"""A shard of a store in the making: the frames of some clips as they come, and at its end what they are of.

Parts are no HDF5: a file of it takes 4 ms to make, and its frames would have to wait until their number is known.
"""

import json
import math
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from io import BufferedRandom
from pathlib import Path

import numpy as np
import xxhash

from preprocess.frames.framing import Frames
from preprocess.store.encoding import encoding_for, quantise
from preprocess.store.schema import (
    READ_BYTES,
    CorruptStore,
    RecipeMismatch,
    Row,
    describe_changes,
    features_digest,
)
from recipe import Features, as_dict

BLOCK_FRAMES = 4096
"""Frames handled at once."""
MAGIC = b"earmark part\x00\x01\r\n"
_END = struct.Struct("<Q16s16s")
"""Bytes of the table before it, their digest, and MAGIC."""


class RowWriter:
    """Writes rows of frames to an open file, from its position on. An OSError from here is the disk's."""

    def __init__(self, file: BufferedRandom, features: Features) -> None:
        self.features, self.encoding = features, encoding_for(features)
        self.rows: list[Row] = []
        self._file = file
        self._start_row()

    def _start_row(self) -> None:
        self._row_start = self._file.tell()
        self._n_frames, self._hasher = 0, xxhash.xxh3_128()
        self._pending: list[Frames] = []
        self._floor, self._floor_written = -math.inf, math.inf

    def add(self, frames: Frames) -> None:
        """Append frames [n_frames, n_bins], as values, to the row being filled."""
        self._pending.append(frames)
        if len(frames) and self.features.top_db is not None:
            self._floor = max(self._floor, float(frames.max()) - self.features.top_db)
        if sum(map(len, self._pending)) >= BLOCK_FRAMES:  # a row shorter than that is written but once
            self._flush()

    def _flush(self) -> None:
        """Write the frames that wait, no lower than the floor as far as it is known."""
        for frames in self._pending:
            stored = quantise(frames, self.encoding, self._floor)
            self._file.write(stored.data)
            self._hasher.update(stored.data)
            self._n_frames += len(stored)
            self._floor_written = min(self._floor_written, self._floor)
        self._pending = []

    def end_row(self, clip: str, variant: int, source: str, start_s: float, duration_s: float) -> None:
        """Name the row being filled, and start the next."""
        self._flush()
        if self._floor_written < self._floor:
            self._apply_floor()
        self.rows.append(Row(clip, variant, source, start_s, duration_s, self._n_frames, self._hasher.hexdigest()))
        self._start_row()

    def _apply_floor(self) -> None:
        """Raise the values of the row being filled to its floor; the clip's highest is known only at its end."""
        self._hasher = xxhash.xxh3_128()
        stored_floor = quantise(np.array([self._floor], np.float32), self.encoding)
        for start in range(0, self._n_frames, BLOCK_FRAMES):
            block = np.empty((min(BLOCK_FRAMES, self._n_frames - start), self.encoding.n_bins), self.encoding.dtype)
            at = self._row_start + start * block.strides[0]
            self._file.seek(at)
            self._file.readinto(block.data)
            np.maximum(block, stored_floor, out=block)
            self._file.seek(at)
            self._file.write(block.data)
            self._hasher.update(block.data)


def write_shard_table(file: BufferedRandom, features: Features, rows: Sequence[Row]) -> None:
    """End a shard: drop what stands behind the frames of its rows, and say there what they are of."""
    file.truncate(count_frame_bytes(rows, features))
    table = {
        "features": as_dict(features),
        "fingerprint": features_digest(features),
        "rows": [astuple(row) for row in rows],
    }
    text = json.dumps(table).encode()
    file.seek(0, os.SEEK_END)
    file.write(text + _END.pack(len(text), xxhash.xxh3_128_digest(text), MAGIC))


def count_frame_bytes(rows: Iterable[Row], features: Features) -> int:
    """Bytes of the frames of rows."""
    encoding = encoding_for(features)
    return sum(row.n_frames for row in rows) * encoding.n_bins * encoding.dtype.itemsize


def read_shard(path: Path, features: Features) -> tuple[list[Row], set[str]]:
    """The rows of a shard, whose frames stand in it end to end, and the clips whose frames are damaged.

    Raises CorruptStore where what they are cannot be told, and RecipeMismatch.
    """
    encoding = encoding_for(features)
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END.size))
        end = file.read()
        n_bytes, digest, magic = _END.unpack(end) if len(end) == _END.size else (0, b"", b"")
        if magic != MAGIC or n_bytes > size - _END.size:
            raise CorruptStore(path, "it does not end as a shard does")
        file.seek(size - _END.size - n_bytes)
        text = file.read(n_bytes)
        if xxhash.xxh3_128_digest(text) != digest:
            raise CorruptStore(path, "its table is damaged")
        table = json.loads(text)
        if table["fingerprint"] != features_digest(features):
            raise RecipeMismatch(path, describe_changes(table["features"], features))
        rows, corrupt = [Row(*row) for row in table["rows"]], set[str]()
        file.seek(0)
        for row in rows:
            hasher, remaining = xxhash.xxh3_128(), row.n_frames * encoding.n_bins * encoding.dtype.itemsize
            while remaining and (block := file.read(min(remaining, READ_BYTES))):
                hasher.update(block)
                remaining -= len(block)
            if hasher.hexdigest() != row.digest:
                corrupt.add(row.clip)
    return rows, corrupt
