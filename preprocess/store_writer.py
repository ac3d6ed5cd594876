"""Writing a feature store, whole or not at all, from pieces: a row, and a way to read its frames."""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from pathlib import Path

import h5py
import numpy as np
import xxhash

from preprocess.disk import Disk
from preprocess.seal import SEAL_BYTES, write_seal
from preprocess.store import READ_BYTES, SCHEMA, Coding, Damaged, Row, Stored, fingerprint
from preprocess.whole import written_whole
from recipe import Features, as_dict

PACKAGES = ("numpy", "ducc0", "soundfile", "av", "soxr", "librosa", "h5py")
"""Whose versions a store records."""


@dataclass(frozen=True)
class Piece:
    """A row to be written, and where its frames come from."""

    row: Row
    read: Callable[[int, int], Stored]
    """Frames `start` to `stop` of the row, in the stored type."""
    origin: Path
    """The file they come from, for messages."""


class _Statistics:
    """Sums of values and of their squares, by bin."""

    def __init__(self, coding: Coding) -> None:
        self.coding, self.n_frames = coding, 0
        self.sums, self.squares = np.zeros(coding.n_bins), np.zeros(coding.n_bins)

    def add(self, stored: Stored) -> None:
        values = stored.astype(np.float64)
        self.n_frames += len(values)
        self.sums += values.sum(axis=0)
        self.squares += np.square(values, out=values).sum(axis=0)

    def write(self, file: h5py.File) -> None:
        """Mean and standard deviation of all values, and of each bin."""
        n = max(1, self.n_frames)
        mean, square = self.sums / n, self.squares / n
        coding = self.coding
        file["bin_mean"] = np.float32(mean * coding.scale + coding.offset)
        file["bin_std"] = np.float32(np.sqrt(np.maximum(0, square - mean**2)) * coding.scale)
        file.attrs["mean"] = mean.mean() * coding.scale + coding.offset
        file.attrs["std"] = np.sqrt(max(0.0, square.mean() - mean.mean() ** 2)) * coding.scale


def write_store(path: Path, features: Features, coding: Coding, pieces: Sequence[Piece], lasting: bool = True) -> None:
    """Write pieces to a store, in order. One that is not `lasting`, a part, is without statistics, and not waited for
    until it is on the disk.

    Raises OSError, and Damaged where a piece is not what its digest says.
    """
    with written_whole(path, lasting) as temporary:
        with Disk(temporary) as disk:
            with h5py.File(disk, "w", userblock_size=SEAL_BYTES, libver="v110") as file:
                _write_attributes(file, features, coding)
                _write_tables(file, [piece.row for piece in pieces])
                start, n_bytes = _write_frames(file, coding, pieces, disk, lasting)
            disk.check()
        write_seal(temporary, start, n_bytes)


def _write_attributes(file: h5py.File, features: Features, coding: Coding) -> None:
    file.attrs["schema"] = SCHEMA
    file.attrs["features"] = json.dumps(as_dict(features))
    file.attrs["fingerprint"] = fingerprint(features)
    file.attrs["frames_per_second"] = coding.frames_per_second
    file.attrs["scale"], file.attrs["offset"] = coding.scale, coding.offset
    file.attrs["versions"] = json.dumps(_versions())


@cache
def _versions() -> dict[str, str]:
    """Of the packages that make frames; looking them up takes a quarter as long as writing a part."""
    return {name: version(name) for name in PACKAGES}


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
    file: h5py.File, coding: Coding, pieces: Sequence[Piece], disk: Disk, lasting: bool
) -> tuple[int, int]:
    """Copy the frames and, in a lasting store, their statistics; return where they lie in the file, and their bytes."""
    total = sum(piece.row.n_frames for piece in pieces)
    frames = file.create_dataset("frames", (total, coding.n_bins), coding.dtype)
    statistics, at = _Statistics(coding), 0
    for blocks in _gathered(_checked_blocks(pieces, coding)):
        if lasting:
            for block in blocks:
                statistics.add(block)
        together = np.concatenate(blocks)
        frames.write_direct(together, dest_sel=np.s_[at : at + len(together)])
        disk.check()
        at += len(together)
    statistics.write(file)
    return (frames.id.get_offset() or SEAL_BYTES) if total else SEAL_BYTES, frames.nbytes


def _checked_blocks(pieces: Iterable[Piece], coding: Coding) -> Iterator[Stored]:
    """The frames of pieces in blocks of at most READ_BYTES. Raises Damaged where one is not what its digest says."""
    step = max(1, READ_BYTES // (coding.n_bins * coding.dtype.itemsize))
    for piece in pieces:
        hasher = xxhash.xxh3_128()
        for start in range(0, piece.row.n_frames, step):
            block = piece.read(start, min(start + step, piece.row.n_frames))
            hasher.update(block.data)
            yield block
        if hasher.hexdigest() != piece.row.digest:
            raise Damaged(piece.origin, f"the frames of {piece.row.clip!r} are damaged")


def _gathered(blocks: Iterable[Stored]) -> Iterator[list[Stored]]:
    """Blocks in groups of READ_BYTES or a little more: a write costs h5py as much time as hashing a megabyte."""
    group: list[Stored] = []
    for block in blocks:
        group.append(block)
        if sum(one.nbytes for one in group) >= READ_BYTES:
            yield group
            group = []
    if group:
        yield group
