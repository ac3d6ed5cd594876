"""A header on a file: what it must be outside its one large array, checked before a parser sees any of it.

The first HEADER_BYTES hold the file's size, where the array lies, a digest of all other bytes and one of the header;
HDF5 leaves that space to its user (the user block). The array's rows carry digests of their own, in the file.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

HEADER_BYTES = 512
_MAGIC = b"earmark features\x00\x01\r\n"
_FIELDS = struct.Struct("<QQQ16s")
_READ_BYTES = 1 << 22


class CorruptFile(Exception):
    """The file is not what was written; the message says how."""


@dataclass(frozen=True)
class IntegrityHeader:
    """What the file must be."""

    file_bytes: int
    array_start: int
    array_bytes: int
    digest: bytes
    """Of every byte outside the header and the array."""

    def to_bytes(self) -> bytes:
        body = _MAGIC + _FIELDS.pack(self.file_bytes, self.array_start, self.array_bytes, self.digest)
        return (body + xxhash.xxh3_128_digest(body)).ljust(HEADER_BYTES, b"\x00")


def write_integrity_header(path: Path, array_start: int, array_bytes: int) -> None:
    """Write the header of a file whose first HEADER_BYTES are free, and whose array lies at `array_start`."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        header = IntegrityHeader(
            size, array_start, array_bytes, _digest_outside_array(file, size, array_start, array_bytes)
        )
        file.seek(0)
        file.write(header.to_bytes())


def read_integrity_header(path: Path) -> IntegrityHeader:
    """The header of an intact file. Raises CorruptFile, and OSError where there is no file."""
    with path.open("rb") as file:
        head = file.read(HEADER_BYTES)
        if not head.startswith(_MAGIC) or len(head) < HEADER_BYTES:
            raise CorruptFile("it does not begin as a feature store does")
        header = IntegrityHeader(*_FIELDS.unpack_from(head, len(_MAGIC)))
        size = file.seek(0, 2)
        if head != header.to_bytes():
            raise CorruptFile("its first bytes are damaged")
        if size != header.file_bytes:
            raise CorruptFile(f"it has {size} bytes where {header.file_bytes} were written")
        if _digest_outside_array(file, size, header.array_start, header.array_bytes) != header.digest:
            raise CorruptFile("its tables are damaged")
    return header


def _digest_outside_array(file: BinaryIO, size: int, array_start: int, array_bytes: int) -> bytes:
    """Digest of the bytes between the header and the array, and after the array."""
    hasher = xxhash.xxh3_128()
    for start, stop in ((HEADER_BYTES, array_start), (array_start + array_bytes, size)):
        file.seek(start)
        for at in range(start, stop, _READ_BYTES):
            hasher.update(file.read(min(_READ_BYTES, stop - at)))
    return hasher.digest()
