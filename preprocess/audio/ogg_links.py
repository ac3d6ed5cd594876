"""Chained Ogg: files of one stream after the other, each with its own header, and maybe its own rate and channels."""

import io
from io import FileIO
from itertools import pairwise
from typing import Any

BOS_PAGE = b"OggS\0\x02"
"""The first bytes of the page that begins a stream (RFC 3533)."""
EOS_FLAG = 4
PAGE_HEADER_BYTES = 27
MAX_PAGE_BYTES = PAGE_HEADER_BYTES + 255 + 255 * 255
READ_BYTES = 1 << 20


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
        block, found = rest + block, -1
        while (found := block.find(BOS_PAGE, found + 1)) >= 0:
            if at + found != adjacent:
                starts.append(at + found)
            position = file.tell()
            adjacent = at + found + _page_bytes(FileSection(file, at + found, at + found + MAX_PAGE_BYTES), 0)
            file.seek(position)
        rest = block[-len(BOS_PAGE) + 1 :]
        at += len(block) - len(rest)
    return starts


def _page_bytes(section: FileSection, at: int) -> int:
    """The size of the page at a byte; 0 where there is none."""
    header = section.read_at(at, PAGE_HEADER_BYTES + 255)
    if header[:4] != BOS_PAGE[:4] or len(header) < PAGE_HEADER_BYTES:
        return 0
    return PAGE_HEADER_BYTES + header[26] + sum(header[27 : 27 + header[26]])


def has_ogg_end(section: FileSection) -> bool:
    """Whether the last page of a link is marked as the end of its stream; True where it is no Ogg file."""
    if section.read_at(0, 4) != BOS_PAGE[:4]:
        return True
    tail = section.read_at(-MAX_PAGE_BYTES, MAX_PAGE_BYTES)
    last = tail.rfind(BOS_PAGE[:5])
    return last >= 0 and len(tail) > last + 5 and bool(tail[last + 5] & EOS_FLAG)


def is_vorbis_of_one_page(section: FileSection) -> bool:
    """Whether a link has all of its sound in one page of Vorbis, of which FFmpeg derives wrong times."""
    at = n_pages = 0
    if b"\1vorbis" not in section.read_at(0, 64):
        return False
    while n_pages < 2 and (n_bytes := _page_bytes(section, at)):
        n_pages += any(section.read_at(at + 6, 8))  # the position in samples, which is 0 for headers
        at += n_bytes
    return n_pages == 1
