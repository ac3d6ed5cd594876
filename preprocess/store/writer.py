"""Writing a feature store, whole or not at all, from row sources: a row, and a way to read its frames."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xxhash

from core.files import atomic_write
from preprocess.store.integrity import HEADER_BYTES, write_integrity_header
from preprocess.store.schema import READ_BYTES, SCHEMA, CorruptStore, EncodedFrames, FrameEncoding, Row, features_digest
from recipe import Features, as_dict

PACKAGES = ("numpy", "ducc0", "soundfile", "av", "soxr", "librosa", "h5py")
"""Packages whose versions a store records."""


@dataclass(frozen=True)
class RowSource:
    """A row to be written, and where its frames come from."""

    row: Row
    read_into: Callable[[int, EncodedFrames], None]
    """Fills `[n_frames, n_bins]` of the stored type with the row's frames from the first number on."""
    origin: Path
    """The file that holds the frames, for messages."""


def write_store(path: Path, features: Features, encoding: FrameEncoding, row_sources: Sequence[RowSource]) -> None:
    """Write rows to a store, in order. Raises OSError, and CorruptStore where frames do not match their digest."""
    rows = [row_source.row for row_source in row_sources]
    with atomic_write(path) as temporary:
        with DeferredErrorFile(temporary) as raw_file:
            with h5py.File(raw_file, "w", userblock_size=HEADER_BYTES, libver="v110") as file:
                _write_metadata(file, features, encoding, rows)
                shape = (sum(row.n_frames for row in rows), encoding.n_bins)
                frames, n_written = file.create_dataset("frames", shape, encoding.dtype), 0
                for block in _verified_blocks(row_sources, encoding):
                    frames[n_written : n_written + len(block)] = block
                    raw_file.raise_deferred()
                    n_written += len(block)
                start, n_bytes = frames.id.get_offset() or HEADER_BYTES, frames.nbytes
            raw_file.raise_deferred()
        write_integrity_header(temporary, start, n_bytes)


class DeferredErrorFile(FileIO):
    """A file for h5py.File that ignores writes after an error: libhdf5 crashes when it closes a file on a full disk."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: OSError | None = None

    def raise_deferred(self) -> None:
        """Raise the first error of `write` or `truncate`, if any."""
        if self._error:
            raise self._error

    def write(self, data: Any) -> int:
        remaining = memoryview(data).cast("B")
        n_bytes = len(remaining)
        try:
            while len(remaining) and not self._error:
                n_written = super().write(remaining)
                remaining = remaining[n_written:]
        except OSError as error:
            self._error = error
        return n_bytes

    def truncate(self, size: int | None = None) -> int:
        try:
            return super().truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0


def _write_metadata(file: h5py.File, features: Features, encoding: FrameEncoding, rows: Sequence[Row]) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["features"] = json.dumps(as_dict(features))
    file.attrs["fingerprint"] = features_digest(features)
    file.attrs["frames_per_second"] = encoding.frames_per_second
    file.attrs["scale"], file.attrs["offset"] = encoding.scale, encoding.offset
    file.attrs["versions"] = json.dumps({name: version(name) for name in PACKAGES})
    file["offsets"] = np.cumsum([0, *(row.n_frames for row in rows)], dtype=np.int64)
    for name, dtype in (("variant", np.int64), ("start_s", np.float64), ("duration_s", np.float64)):
        file[name] = np.array([getattr(row, name) for row in rows], dtype)
    for name in ("clip", "digest", "source", "warning"):
        values = [getattr(row, name).encode("utf-8", "surrogateescape") for row in rows]
        file[name] = np.array(values, h5py.string_dtype("utf-8", max(map(len, values), default=1) or 1))


def _verified_blocks(row_sources: Iterable[RowSource], encoding: FrameEncoding) -> Iterator[EncodedFrames]:
    """Yield the frames of row sources in blocks of READ_BYTES, all in one buffer. Raises CorruptStore."""
    block_frames = max(1, READ_BYTES // (encoding.n_bins * encoding.dtype.itemsize))
    buffer, n_filled = np.empty((block_frames, encoding.n_bins), encoding.dtype), 0
    for row_source in row_sources:
        row, hasher, start = row_source.row, xxhash.xxh3_128(), 0
        while start < row.n_frames:
            block = buffer[n_filled : n_filled + row.n_frames - start]
            row_source.read_into(start, block)
            hasher.update(block.data)
            start, n_filled = start + len(block), n_filled + len(block)
            if n_filled == len(buffer):
                yield buffer
                n_filled = 0
        if hasher.hexdigest() != row.digest:
            raise CorruptStore(row_source.origin, f"the frames of {row.clip!r} are damaged")
    if n_filled:
        yield buffer[:n_filled]
