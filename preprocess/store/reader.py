"""Reading the feature store, features.h5, with every byte verified. It knows nothing of audio.

All clips stand end to end in one contiguous, time-major array, so that a crop is one read and a batch one gather.
"""

import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import xxhash

from core.errors import UserError
from preprocess.store.integrity import HEADER_BYTES, check_integrity
from preprocess.store.schema import READ_BYTES, SCHEMA, CorruptStore, EncodedFrames, Row, check_features
from recipe import Features

TABLES = ("offsets", "clip", "variant", "digest", "source", "warning", "start_s", "duration_s")


class Store:
    """An open feature store, made by `open_store`: tables in memory, frames on the disk."""

    def __init__(self, path: Path, file: h5py.File, frames_at: int, raw: FileIO) -> None:
        self.path, self.frames_at, self._raw = path, frames_at, raw
        self.frames_per_second, self.scale, self.offset = (
            float(file.attrs[key]) for key in ("frames_per_second", "scale", "offset")
        )
        self.offsets: npt.NDArray[np.int64] = file["offsets"][:]
        self.variants: npt.NDArray[np.int64] = file["variant"][:]
        self.start_s: npt.NDArray[np.float64] = file["start_s"][:]
        self.duration_s: npt.NDArray[np.float64] = file["duration_s"][:]
        self.clips, self.digests, self.sources, self.warnings = (
            [value.decode("utf-8", "surrogateescape") for value in file[key][:].tolist()]
            for key in ("clip", "digest", "source", "warning")
        )
        self.dtype: np.dtype[Any] = file["frames"].dtype
        self.n_bins = int(file["frames"].shape[1])
        self._frame_bytes = self.n_bins * self.dtype.itemsize
        self._block_frames = max(1, READ_BYTES // self._frame_bytes)

    def rows(self) -> list[Row]:
        """All rows, without their frames."""
        numbers = (self.variants, self.start_s, self.duration_s, np.diff(self.offsets))
        variants, start_s, duration_s, n_frames = (column.tolist() for column in numbers)
        columns = (self.clips, variants, self.sources, start_s, duration_s, n_frames, self.digests, self.warnings)
        return [Row(*values) for values in zip(*columns, strict=True)]

    def frames_digests(self) -> dict[str, str]:
        """The digest of each clip's frames as recorded, by the clip's name."""
        rows = zip(self.clips, self.variants.tolist(), self.digests, strict=True)
        return {clip: digest for clip, variant, digest in rows if variant == 0}

    def read(self, row: int) -> EncodedFrames:
        """The frames [n_frames, n_bins] of one row, in the stored type. Raises CorruptStore."""
        frames = np.empty((int(self.offsets[row + 1] - self.offsets[row]), self.n_bins), self.dtype)
        self.read_into(frames, [row])
        return frames

    def read_into(self, frames: EncodedFrames, rows: Iterable[int]) -> None:
        """Fill `frames` [n_frames, n_bins] with those of rows, end to end. Raises CorruptStore."""
        start = 0
        for row in rows:
            stop = start + int(self.offsets[row + 1] - self.offsets[row])
            if self._read_digest(row, frames[start:stop]) != self.digests[row]:
                raise CorruptStore(self.path, f"the frames of {self.clips[row]!r} are damaged")
            start = stop

    def memory_map(self, rows: Iterable[int]) -> EncodedFrames:
        """All frames [total_frames, n_bins] as pages of the open file, read when they are touched, and not writable.

        The frames of `rows` are verified first. Raises CorruptStore, and UserError where the system maps no such file.
        """
        if corrupt := self.corrupt_rows(sorted(rows)):
            raise CorruptStore(self.path, f"the frames of {self.clips[corrupt[0]]!r} are damaged")
        shape = (int(self.offsets[-1]), self.n_bins)
        # Not copy on write (mode c): the system counts such pages as memory, and refuses more than there is.
        try:
            return np.memmap(self._raw, dtype=self.dtype, mode="r", offset=self.frames_at, shape=shape)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be mapped ({error.strerror}): see ulimit -v") from None

    def corrupt_rows(self, rows: Iterable[int] | None = None) -> list[int]:
        """Of some rows (by default all), those whose frames are not what was written, found in bounded memory."""
        buffer = np.empty((self._block_frames, self.n_bins), self.dtype)
        rows = range(len(self.digests)) if rows is None else rows
        return [row for row in rows if self._read_digest(row, buffer) != self.digests[row]]

    def _read_digest(self, row: int, out: EncodedFrames) -> str:
        """Digest of a row's frames, read into `out`; where it is too short for them, each block replaces the last."""
        hasher, first, last = xxhash.xxh3_128(), int(self.offsets[row]), int(self.offsets[row + 1])
        for start in range(first, last, self._block_frames):
            at = start - first if len(out) >= last - first else 0
            block = out[at : at + min(self._block_frames, last - start)]
            self._read_block(block, start)
            hasher.update(block.data)
        return hasher.hexdigest()

    def _read_block(self, frames: EncodedFrames, start: int) -> None:
        """Fill `frames` from frame `start` on, by plain reads, which threads may do side by side."""
        position, remaining = self.frames_at + start * self._frame_bytes, frames.reshape(-1).view(np.uint8).data
        while len(remaining):
            n_bytes = os.preadv(self._raw.fileno(), [remaining], position)
            if not n_bytes:
                raise CorruptStore(self.path, "it was cut short while it was read")
            remaining, position = remaining[n_bytes:], position + n_bytes


@contextmanager
def open_store(path: Path, features: Features | None = None) -> Iterator[Store]:
    """Open a store for reading. Raises UserError where it is missing, CorruptStore, or RecipeMismatch."""
    try:
        frames_at = check_integrity(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no feature store; run make features first") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    with path.open("rb", buffering=0) as raw:
        try:
            with h5py.File(path, "r", locking=False) as file:  # it never changes; some file systems have no locks
                _check_schema(path, file)
                if features:
                    check_features(path, json.loads(file.attrs["features"]), str(file.attrs["fingerprint"]), features)
                store = Store(path, file, frames_at, raw)
        except (OSError, KeyError, ValueError, TypeError, AttributeError, RecursionError):
            raise CorruptStore(path, "its tables are of another kind") from None
        yield store


def _check_schema(path: Path, file: h5py.File) -> None:
    """Raise CorruptStore for a file that is no store of this schema, or whose tables lie in other files."""
    if file.userblock_size != HEADER_BYTES or file.attrs.get("schema") != SCHEMA:
        raise CorruptStore(path, f"it is no feature store of schema {SCHEMA}")
    for name in (*TABLES, "frames"):
        table = file[name] if isinstance(file.get(name, getlink=True), h5py.HardLink) else None
        if not isinstance(table, h5py.Dataset) or table.external or table.is_virtual:
            raise CorruptStore(path, f"its {name} are not in the file itself")
