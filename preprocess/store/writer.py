"""Writing a feature store, whole or not at all, from pieces: a row, and a way to read its frames."""

import json
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from importlib.metadata import version
from itertools import cycle
from pathlib import Path

import h5py
import numpy as np
import xxhash

from core.files import written_whole
from core.hdf5_file import Disk
from preprocess.store.encoding import as_float32
from preprocess.store.integrity import SEAL_BYTES, write_seal
from preprocess.store.schema import READ_BYTES, SCHEMA, Coding, Damaged, Row, Stored, fingerprint
from recipe import Features, as_dict

PACKAGES = ("numpy", "ducc0", "soundfile", "av", "soxr", "librosa", "h5py")
"""Whose versions a store records."""
WRITERS = 2
"""Threads that write a store."""
CACHED_FRAMES = 512
"""So many float32 frames of 128 bins stay in a core's own cache."""


@dataclass(frozen=True)
class Piece:
    """A row to be written, and where its frames come from."""

    row: Row
    fill: Callable[[int, Stored], None]
    """Put the row's frames from the first number on into `[n_frames, n_bins]` of the stored type."""
    origin: Path
    """The file they come from, for messages."""

    @classmethod
    def in_memory(cls, row: Row, frames: Stored, origin: Path) -> "Piece":
        """A row whose frames are at hand."""

        def fill(start: int, out: Stored) -> None:
            out[:] = frames[start : start + len(out)]

        return cls(row, fill, origin)


class _Statistics:
    """Sums of values and of their squares, by bin.

    They are of what a value is beyond the first frame's: so float32 is exact enough, also where a bin hardly changes.
    """

    def __init__(self, coding: Coding) -> None:
        self.coding, self.n_frames = coding, 0
        self.first = np.zeros(coding.n_bins, np.float32)
        self.sums, self.squares = np.zeros(coding.n_bins), np.zeros(coding.n_bins)

    def add(self, stored: Stored) -> None:
        for start in range(0, len(stored), CACHED_FRAMES):
            values = as_float32(stored[start : start + CACHED_FRAMES])
            if not self.n_frames:
                self.first = values[0].copy()
            values -= self.first
            self.n_frames += len(values)
            self.sums += np.einsum("tb->b", values)
            self.squares += np.einsum("tb,tb->b", values, values)

    def write(self, file: h5py.File) -> None:
        """Mean and standard deviation of all values, and of each bin."""
        n, coding = max(1, self.n_frames), self.coding
        mean = self.first + self.sums / n
        variance = np.maximum(0, self.squares / n - (self.sums / n) ** 2)
        file["bin_mean"] = np.float32(mean * coding.scale + coding.offset)
        file["bin_std"] = np.float32(np.sqrt(variance) * coding.scale)
        file.attrs["mean"] = mean.mean() * coding.scale + coding.offset
        file.attrs["std"] = np.sqrt(variance.mean() + mean.var()) * coding.scale


def write_store(path: Path, features: Features, coding: Coding, pieces: Sequence[Piece]) -> None:
    """Write pieces to a store, in order. Raises OSError, and Damaged where a piece is not what its digest says."""
    with written_whole(path) as temporary:
        with Disk(temporary) as disk:
            with h5py.File(disk, "w", userblock_size=SEAL_BYTES, libver="v110") as file:
                _write_attributes(file, features, coding)
                _write_tables(file, [piece.row for piece in pieces])
                start, n_bytes = _write_frames(file, coding, pieces, disk)
            disk.check()
        write_seal(temporary, start, n_bytes)


def _write_attributes(file: h5py.File, features: Features, coding: Coding) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["features"] = json.dumps(as_dict(features))
    file.attrs["fingerprint"] = fingerprint(features)
    file.attrs["frames_per_second"] = coding.frames_per_second
    file.attrs["scale"], file.attrs["offset"] = coding.scale, coding.offset
    file.attrs["versions"] = json.dumps({name: version(name) for name in PACKAGES})


def _write_tables(file: h5py.File, rows: Sequence[Row]) -> None:
    file["offsets"] = np.cumsum([0, *(row.n_frames for row in rows)], dtype=np.int64)
    file["variant"] = np.array([row.variant for row in rows], np.int64)
    file["start_s"] = np.array([row.start_s for row in rows], np.float64)
    file["duration_s"] = np.array([row.duration_s for row in rows], np.float64)
    for name, texts in (
        ("clip", [row.clip for row in rows]),
        ("digest", [row.digest for row in rows]),
        ("source", [row.source for row in rows]),
    ):
        values = [text.encode("utf-8", "surrogateescape") for text in texts]
        file[name] = np.array(values, h5py.string_dtype("utf-8", max(map(len, values), default=1) or 1))


def _write_frames(file: h5py.File, coding: Coding, pieces: Sequence[Piece], disk: Disk) -> tuple[int, int]:
    """Copy the frames, and write their statistics; return where they lie in the file, and their bytes.

    While the next frames are read, checked and counted, threads write the last, past HDF5, which knows of none.
    """
    shape = (sum(piece.row.n_frames for piece in pieces), coding.n_bins)
    placed = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    placed.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    placed.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    frames = file.create_dataset("frames", shape, coding.dtype, dcpl=placed)
    start = at = frames.id.get_offset() or SEAL_BYTES
    statistics, writing = _Statistics(coding), deque[Future[None]]()
    with ThreadPoolExecutor(WRITERS) as writers:
        for block in _checked_blocks(pieces, coding):
            writing.append(writers.submit(disk.put, at, block))
            at += block.nbytes
            statistics.add(block)
            if len(writing) > WRITERS:
                writing.popleft().result()  # so the buffer that comes next is free
            disk.check()
    for last in writing:
        last.result()
    disk.check()
    statistics.write(file)
    return start, frames.nbytes


def _checked_blocks(pieces: Iterable[Piece], coding: Coding) -> Iterator[Stored]:
    """The frames of pieces in blocks of READ_BYTES, each of which stays until WRITERS more have come.

    Reading into fresh memory took three times as long as reading into the same again.
    Raises Damaged where a piece is not what its digest says.
    """
    n_frames = max(1, READ_BYTES // (coding.n_bins * coding.dtype.itemsize))
    buffers = cycle([np.empty((n_frames, coding.n_bins), coding.dtype) for _ in range(WRITERS + 1)])
    buffer, filled = next(buffers), 0
    for piece in pieces:
        hasher, start = xxhash.xxh3_128(), 0
        while start < piece.row.n_frames:
            here = buffer[filled : filled + piece.row.n_frames - start]
            piece.fill(start, here)
            hasher.update(here.data)
            start, filled = start + len(here), filled + len(here)
            if filled == len(buffer):
                yield buffer
                buffer, filled = next(buffers), 0
        if hasher.hexdigest() != piece.row.digest:
            raise Damaged(piece.origin, f"the frames of {piece.row.clip!r} are damaged")
    if filled:
        yield buffer[:filled]
