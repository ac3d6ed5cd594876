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
from preprocess.store.integrity import HEADER_BYTES, CorruptFile, read_integrity_header
from preprocess.store.schema import (
    READ_BYTES,
    SCHEMA,
    CorruptStore,
    EncodedFrames,
    RecipeMismatch,
    Row,
    describe_changes,
    features_digest,
)
from recipe import Features

TABLES = ("offsets", "clip", "variant", "digest", "source", "start_s", "duration_s", "bin_mean", "bin_std")


class Store:
    """An open feature store: tables in memory, frames on the disk. Made by `open_store`."""

    def __init__(self, path: Path, file: h5py.File, frames_at: int, raw: FileIO) -> None:
        self.path, self.frames_at, self._bytes = path, frames_at, raw
        attributes = file.attrs
        self.features: dict[str, Any] = json.loads(attributes["features"])
        self.features_digest = str(attributes["fingerprint"])
        self.frames_per_second, self.scale, self.offset, self.mean, self.std = (
            float(attributes[key]) for key in ("frames_per_second", "scale", "offset", "mean", "std")
        )
        self.offsets: npt.NDArray[np.int64] = file["offsets"][:]
        self.variants: npt.NDArray[np.int64] = file["variant"][:]
        self.start_s: npt.NDArray[np.float64] = file["start_s"][:]
        self.duration_s: npt.NDArray[np.float64] = file["duration_s"][:]
        self.bin_mean: npt.NDArray[np.float32] = file["bin_mean"][:]
        self.bin_std: npt.NDArray[np.float32] = file["bin_std"][:]
        self.clips, self.digests, self.sources = (_text(file[key]) for key in ("clip", "digest", "source"))
        frames = file["frames"]
        self.dtype: np.dtype[Any] = frames.dtype
        self.n_bins = int(frames.shape[1])
        self._block_frames = max(1, READ_BYTES // (self.n_bins * self.dtype.itemsize))

    def row(self, index: int) -> Row:
        """Everything of one row but its frames."""
        return Row(
            clip=self.clips[index],
            variant=int(self.variants[index]),
            source=self.sources[index],
            start_s=float(self.start_s[index]),
            duration_s=float(self.duration_s[index]),
            n_frames=int(self.offsets[index + 1] - self.offsets[index]),
            digest=self.digests[index],
        )

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
                raise self._corrupt_store(row)
            start = stop

    def memory_map(self, rows: Iterable[int]) -> EncodedFrames:
        """All frames [total_frames, n_bins] as pages of the file that is open, read when they are touched.

        Those of `rows` are verified before, once. Raises CorruptStore.
        """
        if corrupt := self.corrupt_rows(sorted(rows)):
            raise self._corrupt_store(corrupt[0])
        shape = (int(self.offsets[-1]), self.n_bins)
        # Copy on write, because torch refuses to wrap pages it may not write to; nothing writes to them.
        return np.memmap(self._bytes, dtype=self.dtype, mode="c", offset=self.frames_at, shape=shape)

    def corrupt_rows(self, rows: Iterable[int] | None = None) -> list[int]:
        """Of some rows (by default all), those whose frames are not what was written, found in bounded memory."""
        scratch = np.empty((self._block_frames, self.n_bins), self.dtype)
        rows = range(len(self.digests)) if rows is None else rows
        return [row for row in rows if self._read_digest(row, scratch) != self.digests[row]]

    def _read_digest(self, row: int, out: EncodedFrames) -> str:
        """Digest of a row's frames, read into `out`: all of them or, where it is too short, a block over another."""
        hasher, first, last = xxhash.xxh3_128(), int(self.offsets[row]), int(self.offsets[row + 1])
        for start in range(first, last, self._block_frames):
            at = start - first if len(out) >= last - first else 0
            hasher.update(self._read_block(out[at : at + min(self._block_frames, last - start)], start))
        return hasher.hexdigest()

    def _read_block(self, frames: EncodedFrames, start: int) -> memoryview:
        """Fill `frames` from frame `start` on. The array is contiguous: plain reads are as fast as numpy.fromfile."""
        position = self.frames_at + start * self.n_bins * self.dtype.itemsize
        remaining = whole = frames.reshape(-1).view(np.uint8).data
        while len(remaining):
            n_bytes = os.preadv(self._bytes.fileno(), [remaining], position)  # which threads may do side by side
            if not n_bytes:
                raise CorruptStore(self.path, "it was cut short while it was read")
            remaining, position = remaining[n_bytes:], position + n_bytes
        return whole

    def _corrupt_store(self, row: int) -> CorruptStore:
        return CorruptStore(self.path, f"the frames of {self.clips[row]!r} are damaged")


def _text(table: h5py.Dataset) -> list[str]:
    return [value.decode("utf-8", "surrogateescape") for value in table[:].tolist()]


@contextmanager
def open_store(path: Path | str, features: Features | None = None) -> Iterator[Store]:
    """Open a store for reading. Raises UserError where it is missing, CorruptStore, or RecipeMismatch."""
    path = Path(path)
    try:
        header = read_integrity_header(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no feature store; run make features first") from None
    except CorruptFile as error:
        raise CorruptStore(path, str(error)) from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    with path.open("rb", buffering=0) as raw:
        with h5py.File(path, "r") as file:
            _check_schema(path, file, header.array_start)
            store = Store(path, file, header.array_start, raw)
        if features and store.features_digest != features_digest(features):
            raise RecipeMismatch(path, describe_changes(store.features, features))
        yield store


def _check_schema(path: Path, file: h5py.File, array_start: int) -> None:
    """Refuse what is not laid out as a store of this schema, or lies in other files."""
    if file.userblock_size != HEADER_BYTES or file.attrs.get("schema") != SCHEMA:
        raise CorruptStore(path, f"it is no feature store of schema {SCHEMA}")
    for name in (*TABLES, "frames"):
        hard = isinstance(file.get(name, getlink=True), h5py.HardLink)
        table = file[name] if hard else None
        if not isinstance(table, h5py.Dataset):
            raise CorruptStore(path, f"its {name} are not in the file itself")
        if table.external or table.is_virtual:
            raise CorruptStore(path, f"its {name} lie in other files")
    frames = file["frames"]
    if frames.size and frames.id.get_offset() != array_start:
        raise CorruptStore(path, "its frames are not where they were written")
