"""A seal on a file: what it must be outside its one large array, checked before a parser sees any of it.

The first SEAL_BYTES hold the file's size, where the array lies, a digest of all other bytes and one of the seal; HDF5
leaves that space to its user (the user block). The array's rows carry digests of their own, in the file.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import xxhash

SEAL_BYTES = 512
_MAGIC = b"earmark features\x00\x01\r\n"
_FIELDS = struct.Struct("<QQQ16s")
_READ_BYTES = 1 << 22


class BrokenSeal(Exception):
    """The file is not what was sealed; the message says how."""


@dataclass(frozen=True)
class Seal:
    """What a sealed file must be."""

    file_bytes: int
    array_start: int
    array_bytes: int
    digest: bytes
    """Of every byte outside the seal and the array."""

    def packed(self) -> bytes:
        body = _MAGIC + _FIELDS.pack(self.file_bytes, self.array_start, self.array_bytes, self.digest)
        return (body + xxhash.xxh3_128_digest(body)).ljust(SEAL_BYTES, b"\x00")


def write_seal(path: Path, array_start: int, array_bytes: int) -> None:
    """Seal a file whose first SEAL_BYTES are free, and whose array lies at `array_start`."""
    with path.open("r+b") as file:
        size = file.seek(0, 2)
        seal = Seal(size, array_start, array_bytes, _digest_around(file, size, array_start, array_bytes))
        file.seek(0)
        file.write(seal.packed())


def check_seal(path: Path) -> Seal:
    """The seal of an unharmed file. Raises BrokenSeal, and OSError where there is no file."""
    with path.open("rb") as file:
        head = file.read(SEAL_BYTES)
        if not head.startswith(_MAGIC) or len(head) < SEAL_BYTES:
            raise BrokenSeal("it does not begin as a feature store does")
        seal = Seal(*_FIELDS.unpack_from(head, len(_MAGIC)))
        size = file.seek(0, 2)
        if head != seal.packed():
            raise BrokenSeal("its first bytes are damaged")
        if size != seal.file_bytes:
            raise BrokenSeal(f"it has {size} bytes where {seal.file_bytes} were written")
        if _digest_around(file, size, seal.array_start, seal.array_bytes) != seal.digest:
            raise BrokenSeal("its tables are damaged")
    return seal


def _digest_around(file: BinaryIO, size: int, array_start: int, array_bytes: int) -> bytes:
    """Digest of the bytes between the seal and the array, and after the array."""
    hasher = xxhash.xxh3_128()
    for start, stop in ((SEAL_BYTES, array_start), (array_start + array_bytes, size)):
        file.seek(start)
        for at in range(start, stop, _READ_BYTES):
            hasher.update(file.read(min(_READ_BYTES, stop - at)))
    return hasher.digest()
