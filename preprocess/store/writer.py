"""Writing a feature store, whole or not at all, from row sources: a row, and a way to read its frames."""

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

from core.files import atomic_write
from preprocess.store.hdf5_file import DeferredErrorFile
from preprocess.store.integrity import HEADER_BYTES, write_integrity_header
from preprocess.store.schema import READ_BYTES, SCHEMA, CorruptStore, EncodedFrames, FrameEncoding, Row, features_digest
from recipe import Features, as_dict

PACKAGES = ("numpy", "ducc0", "soundfile", "av", "soxr", "librosa", "h5py")
"""Whose versions a store records."""
N_WRITER_THREADS = 2
"""Threads that write a store."""
CACHED_FRAMES = 512
"""So many float32 frames of 128 bins stay in a core's own cache."""


@dataclass(frozen=True)
class RowSource:
    """A row to be written, and where its frames come from."""

    row: Row
    read_into: Callable[[int, EncodedFrames], None]
    """Put the row's frames from the first number on into `[n_frames, n_bins]` of the stored type."""
    origin: Path
    """The file they come from, for messages."""

    @classmethod
    def from_array(cls, row: Row, frames: EncodedFrames, origin: Path) -> "RowSource":
        """A row whose frames are at hand."""

        def read_into(start: int, out: EncodedFrames) -> None:
            out[:] = frames[start : start + len(out)]

        return cls(row, read_into, origin)


class _RunningMoments:
    """Sums of values and of their squares, by bin.

    They are of what a value is beyond the first frame's: so float32 is exact enough, also where a bin hardly changes.
    """

    def __init__(self, encoding: FrameEncoding) -> None:
        self.encoding, self.n_frames = encoding, 0
        self.first = np.zeros(encoding.n_bins, np.float32)
        self.sums, self.squares = np.zeros(encoding.n_bins), np.zeros(encoding.n_bins)

    def add(self, stored: EncodedFrames) -> None:
        for start in range(0, len(stored), CACHED_FRAMES):
            values = stored[start : start + CACHED_FRAMES].astype(np.float32)
            if not self.n_frames:
                self.first = values[0].copy()
            values -= self.first
            self.n_frames += len(values)
            self.sums += np.einsum("tb->b", values)
            self.squares += np.einsum("tb,tb->b", values, values)

    def write(self, file: h5py.File) -> None:
        """Mean and standard deviation of all values, and of each bin."""
        n, encoding = max(1, self.n_frames), self.encoding
        mean = self.first + self.sums / n
        variance = np.maximum(0, self.squares / n - (self.sums / n) ** 2)
        file["bin_mean"] = np.float32(mean * encoding.scale + encoding.offset)
        file["bin_std"] = np.float32(np.sqrt(variance) * encoding.scale)
        file.attrs["mean"] = mean.mean() * encoding.scale + encoding.offset
        file.attrs["std"] = np.sqrt(variance.mean() + mean.var()) * encoding.scale


def write_store(path: Path, features: Features, encoding: FrameEncoding, row_sources: Sequence[RowSource]) -> None:
    """Write rows to a store, in order. Raises OSError, and CorruptStore where one is not what its digest says."""
    with atomic_write(path) as temporary:
        with DeferredErrorFile(temporary) as raw_file:
            with h5py.File(raw_file, "w", userblock_size=HEADER_BYTES, libver="v110") as file:
                _write_attributes(file, features, encoding)
                _write_tables(file, [row_source.row for row_source in row_sources])
                start, n_bytes = _write_frames(file, encoding, row_sources, raw_file)
            raw_file.raise_deferred()
        write_integrity_header(temporary, start, n_bytes)


def _write_attributes(file: h5py.File, features: Features, encoding: FrameEncoding) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["features"] = json.dumps(as_dict(features))
    file.attrs["fingerprint"] = features_digest(features)
    file.attrs["frames_per_second"] = encoding.frames_per_second
    file.attrs["scale"], file.attrs["offset"] = encoding.scale, encoding.offset
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


def _write_frames(
    file: h5py.File, encoding: FrameEncoding, row_sources: Sequence[RowSource], raw_file: DeferredErrorFile
) -> tuple[int, int]:
    """Copy the frames, and write their statistics; return where they lie in the file, and their bytes.

    While the next frames are read, checked and counted, threads write the last, past HDF5, which knows of none.
    """
    shape = (sum(row_source.row.n_frames for row_source in row_sources), encoding.n_bins)
    creation_properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    creation_properties.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
    creation_properties.set_fill_time(h5py.h5d.FILL_TIME_NEVER)
    frames = file.create_dataset("frames", shape, encoding.dtype, dcpl=creation_properties)
    start = at = frames.id.get_offset() or HEADER_BYTES
    statistics, writing = _RunningMoments(encoding), deque[Future[None]]()
    with ThreadPoolExecutor(N_WRITER_THREADS) as writers:
        for block in _verified_blocks(row_sources, encoding):
            writing.append(writers.submit(raw_file.write_at, at, block))
            at += block.nbytes
            statistics.add(block)
            if len(writing) > N_WRITER_THREADS:
                writing.popleft().result()  # so the buffer that comes next is free
            raw_file.raise_deferred()
    for last in writing:
        last.result()
    raw_file.raise_deferred()
    statistics.write(file)
    return start, frames.nbytes


def _verified_blocks(row_sources: Iterable[RowSource], encoding: FrameEncoding) -> Iterator[EncodedFrames]:
    """The frames of row sources in blocks of READ_BYTES, each of which stays until N_WRITER_THREADS more have come.

    Reading into fresh memory took three times as long as reading into the same again.
    Raises CorruptStore where a row source is not what its digest says.
    """
    n_frames = max(1, READ_BYTES // (encoding.n_bins * encoding.dtype.itemsize))
    buffers = cycle([np.empty((n_frames, encoding.n_bins), encoding.dtype) for _ in range(N_WRITER_THREADS + 1)])
    buffer, filled = next(buffers), 0
    for row_source in row_sources:
        hasher, start = xxhash.xxh3_128(), 0
        while start < row_source.row.n_frames:
            here = buffer[filled : filled + row_source.row.n_frames - start]
            row_source.read_into(start, here)
            hasher.update(here.data)
            start, filled = start + len(here), filled + len(here)
            if filled == len(buffer):
                yield buffer
                buffer, filled = next(buffers), 0
        if hasher.hexdigest() != row_source.row.digest:
            raise CorruptStore(row_source.origin, f"the frames of {row_source.row.clip!r} are damaged")
    if filled:
        yield buffer[:filled]
