"""Shards, the parts of a store: the frames of some clips, one after the other, and a table of their rows at the end.

A shard is no HDF5 file, which takes longer to make and needs to know the number of its frames at the beginning.
"""

import json
import os
import struct
from collections.abc import Iterable, Sequence
from dataclasses import astuple
from io import BufferedRandom
from pathlib import Path

import xxhash

from preprocess.frames.framing import Frames
from preprocess.store.encoding import count_frame_bytes, encoding_for, quantise
from preprocess.store.schema import READ_BYTES, CorruptStore, RecipeMismatch, Row, features_digest
from recipe import Features

MAGIC = b"earmark part\x00\x01\r\n"
_END = struct.Struct("<Q16s16s")
"""Bytes of the table before it, their digest, and MAGIC."""


def append_frames(file: BufferedRandom, features: Features, frames: Iterable[Frames]) -> tuple[int, str]:
    """Write the frames of a row, values in blocks, from the position of `file` on. Returns their number and digest."""
    encoding, hasher, n_frames = encoding_for(features), xxhash.xxh3_128(), 0
    for block in frames:
        stored = quantise(block, encoding)
        file.write(stored.data)
        hasher.update(stored.data)
        n_frames += len(stored)
    return n_frames, hasher.hexdigest()


def write_shard_table(file: BufferedRandom, features: Features, fingerprint: str, rows: Sequence[Row]) -> None:
    """Write the table after the frames of `rows`, in place of all that stands there, with the features' digest."""
    file.truncate(count_frame_bytes(sum(row.n_frames for row in rows), features))
    text = json.dumps({"fingerprint": fingerprint, "rows": [astuple(row) for row in rows]}).encode()
    file.seek(0, os.SEEK_END)
    file.write(text + _END.pack(len(text), xxhash.xxh3_128_digest(text), MAGIC))


def read_shard(path: Path, features: Features) -> tuple[list[Row], set[str]]:
    """The rows of a shard, and the clips whose frames are damaged.

    Raises CorruptStore where the table is damaged, and RecipeMismatch.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
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
            raise RecipeMismatch(path, "its frames are of other features")
        rows, corrupt = [Row(*row) for row in table["rows"]], set[str]()
        file.seek(0)
        for row in rows:
            hasher, remaining = xxhash.xxh3_128(), count_frame_bytes(row.n_frames, features)
            while remaining and (block := file.read(min(remaining, READ_BYTES))):
                hasher.update(block)
                remaining -= len(block)
            if hasher.hexdigest() != row.digest:
                corrupt.add(row.clip)
    return rows, corrupt
