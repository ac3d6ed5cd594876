"""Ogg pages: the links of chained files, each with its own header and maybe its own rate, and which are intact."""

import io
import zlib
from collections.abc import Iterator
from io import FileIO
from itertools import pairwise
from typing import Any

from core.sandbox import report_progress

BOS_PAGE = b"OggS\0\x02"
"""The first bytes of the page that begins a stream (RFC 3533)."""
BOS_FLAG, EOS_FLAG = 2, 4
PAGE_HEADER_BYTES = 27
MAX_PAGE_BYTES = PAGE_HEADER_BYTES + 255 + 255 * 255
READ_BYTES = 1 << 20
REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Ogg's checksum is that of zlib with the bits of each byte reversed, and no inversion."""


class FileSection(io.RawIOBase):
    """A part of a file, as a file."""

    def __init__(self, file: FileIO, start: int, stop: int) -> None:
        self._file, self._start, self._stop, self._at = file, start, stop, start

    def readinto(self, buffer: Any, /) -> int:
        self._file.seek(self._at)
        block = self._file.read(max(0, min(len(buffer), self._stop - self._at)))
        buffer[: len(block)] = block
        self._at += len(block)
        return len(block)

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        origin = {io.SEEK_SET: self._start, io.SEEK_CUR: self._at, io.SEEK_END: self._stop}[whence]
        self._at = max(self._start, origin + offset)
        return self.tell()

    def read_at(self, start: int, size: int) -> bytes:
        """Bytes from `start` on, or before the end where it is below zero; the position stays."""
        self._file.seek(max(self._start, (self._start if start >= 0 else self._stop) + start))
        return self._file.read(min(size, self._stop - self._file.tell()))

    @property
    def whole_file(self) -> FileIO | None:
        """The file itself, which C code reads faster, where this is all of it."""
        size = self._file.seek(0, io.SEEK_END)
        self._file.seek(0)
        return self._file if (self._start, self._stop) == (0, size) else None

    def tell(self) -> int:
        return self._at - self._start

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True


def split_ogg_links(file: FileIO) -> list[FileSection]:
    """The links of an Ogg file; any other file whole."""
    stop = file.seek(0, io.SEEK_END)
    file.seek(0)
    starts = _link_starts(file) if file.read(4) == BOS_PAGE[:4] else []
    bounds = [0, *starts[1:], stop]
    return [FileSection(file, *pair) for pair in pairwise(bounds)]


def _link_starts(file: FileIO) -> list[int]:
    """Where pages begin a stream, but for those right behind another such page: streams side by side in one link."""
    starts, at, adjacent, rest = list[int](), 0, -1, b""
    file.seek(0)
    while block := file.read(READ_BYTES):
        report_progress()  # hours of sound on a slow disk take minutes
        block, found = rest + block, -1
        while (found := block.find(BOS_PAGE, found + 1)) >= 0:
            if at + found != adjacent:
                starts.append(at + found)
            position = file.tell()
            file.seek(at + found)
            adjacent = at + found + _page_bytes(file.read(PAGE_HEADER_BYTES + 255))
            file.seek(position)
        rest = block[-len(BOS_PAGE) + 1 :]
        at += len(block) - len(rest)
    return starts


def _page_bytes(content: bytes) -> int:
    """The size of the page that begins the content; 0 where there is none."""
    if content[:4] != BOS_PAGE[:4] or len(content) < PAGE_HEADER_BYTES:
        return 0
    return PAGE_HEADER_BYTES + content[26] + sum(content[27 : 27 + content[26]])


def has_ogg_end(section: FileSection) -> bool:
    """Whether the last page of a link is marked as the end of its stream; True where it is no Ogg file."""
    if section.read_at(0, 4) != BOS_PAGE[:4]:
        return True
    tail = section.read_at(-MAX_PAGE_BYTES, MAX_PAGE_BYTES)
    last = tail.rfind(BOS_PAGE[:5])
    return last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & EOS_FLAG)


def is_intact_vorbis(section: FileSection) -> bool:
    """Whether a link is one Vorbis stream from its first page to its last, with no gap and no wrong checksum."""
    head = section.read_at(0, 64)
    if head[28:35] != b"\1vorbis" or head[5] != BOS_FLAG:
        return False
    serial, longest_packet = head[14:18], 1 << (head[56] >> 4) >> 1
    section.seek(0)
    position, flags = 0, 0
    for number, page in enumerate(_read_pages(section)):
        if _page_bytes(page) != len(page) or page[14:22] != serial + number.to_bytes(4, "little"):
            return False
        if flags & EOS_FLAG or not _has_right_checksum(page):
            return False
        flags, page_end = page[5], int.from_bytes(page[6:14], "little", signed=True)
        n_packets = page[26] - page[27 : 27 + page[26]].count(255)  # a segment of 255 bytes goes on in the next
        if page_end != -1 and not position <= page_end <= position + n_packets * longest_packet:  # -1: none ends here
            return False
        position = max(position, page_end)
    return bool(flags & EOS_FLAG)


def _read_pages(section: FileSection) -> Iterator[bytes]:
    """Yield the pages from here on, and then what is no page or not a whole one."""
    rest = b""
    while block := section.read(READ_BYTES):
        report_progress()
        rest, at = rest + block, 0
        while 0 < (n_bytes := _page_bytes(rest[at : at + PAGE_HEADER_BYTES + 255])) <= len(rest) - at:
            yield rest[at : at + n_bytes]
            at += n_bytes
        rest = rest[at:]
        if len(rest) > MAX_PAGE_BYTES:
            break
    if rest:
        yield rest


def _has_right_checksum(page: bytes) -> bool:
    """Whether a page's CRC-32 is that of its other bytes (RFC 3533)."""
    zeroed = page[:22] + bytes(4) + page[26:]
    checksum = zlib.crc32(zeroed.translate(REVERSED_BITS), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return checksum.to_bytes(4, "big").translate(REVERSED_BITS) == page[22:26]
