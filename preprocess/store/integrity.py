"""The integrity header of a feature store, which is checked before HDF5 parses the file.

HDF5 leaves the first HEADER_BYTES of the file free (the user block). They hold the file's size, the place of the array
of frames, a digest of all other bytes and one of the header. The rows of the array have digests in the file.
"""

import os
import struct
from pathlib import Path
from typing import BinaryIO

import xxhash

from preprocess.store.schema import READ_BYTES, CorruptStore

HEADER_BYTES = 512
_MAGIC = b"earmark features\x00\x01\r\n"
_FIELDS = struct.Struct("<QQQ16s")
"""Bytes of the file, start and bytes of the array, digest of every byte outside the header and the array."""


def write_integrity_header(path: Path, array_start: int, array_bytes: int) -> None:
    """Write the header of a file whose first HEADER_BYTES are free, and whose array lies at `array_start`."""
    with path.open("r+b") as file:
        file_bytes = file.seek(0, os.SEEK_END)
        digest = _digest_outside_array(file, file_bytes, array_start, array_bytes)
        file.seek(0)
        file.write(_header(file_bytes, array_start, array_bytes, digest))


def check_integrity(path: Path) -> int:
    """Where the array of an intact file starts. Raises CorruptStore, and OSError where there is no file."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
        if not header.startswith(_MAGIC) or len(header) < HEADER_BYTES:
            raise CorruptStore(path, "it does not begin as a feature store does")
        file_bytes, array_start, array_bytes, digest = _FIELDS.unpack_from(header, len(_MAGIC))
        if header != _header(file_bytes, array_start, array_bytes, digest):
            raise CorruptStore(path, "its first bytes are damaged")
        size = file.seek(0, os.SEEK_END)
        if size != file_bytes:
            raise CorruptStore(path, f"it has {size} bytes where {file_bytes} were written")
        if _digest_outside_array(file, size, array_start, array_bytes) != digest:
            raise CorruptStore(path, "its tables are damaged")
    return int(array_start)


def _header(file_bytes: int, array_start: int, array_bytes: int, digest: bytes) -> bytes:
    body = _MAGIC + _FIELDS.pack(file_bytes, array_start, array_bytes, digest)
    return (body + xxhash.xxh3_128_digest(body)).ljust(HEADER_BYTES, b"\x00")


def _digest_outside_array(file: BinaryIO, size: int, array_start: int, array_bytes: int) -> bytes:
    """Digest of the bytes between the header and the array, and after the array."""
    hasher = xxhash.xxh3_128()
    for start, stop in ((HEADER_BYTES, array_start), (array_start + array_bytes, size)):
        file.seek(start)
        for at in range(start, stop, READ_BYTES):
            hasher.update(file.read(min(READ_BYTES, stop - at)))
    return hasher.digest()
