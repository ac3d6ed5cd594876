"""WAV headers that libsndfile misreads: sizes never filled in, chunks without pad bytes, samples in wider words."""

import io
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from io import FileIO
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from preprocess.audio.blocks import InvalidAudio

PCM, IEEE_FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MIN_OPEN_BYTES = 0x7FFF0000
"""Sizes from here on are what recorders write that have not ended, where the file is smaller."""
MIN_UNSTATED_BYTES = 4096
"""Fewer bytes behind the stated sound are not taken for sound."""
MAX_CHUNKS = 256
"""Of a header: zeros are chunks of no bytes, and there may be millions."""
CHUNK_ID = re.compile(rb"[A-Za-z][A-Za-z0-9 _-]{3}")
N_PROBES, PROBE_BYTES = 32, 1 << 14
"""Places of a file, and bytes at each, that show in which bits of a word its samples are."""


@dataclass(frozen=True)
class WavLayout:
    """Where the samples of a WAV file are, and what they are."""

    sample_rate_hz: int
    n_channels: int
    tag: int
    word_bytes: int
    """Bytes of a channel's sample."""
    valid_bits: int
    is_wide: bool
    """Whether words have more bytes than the bits that the header gives them need."""
    start: int
    stop: int
    """First byte of the sound, and the one behind its last."""
    is_regular: bool
    """Whether libsndfile reads it right."""
    warnings: tuple[str, ...] = ()

    @property
    def frame_bytes(self) -> int:
        return self.n_channels * self.word_bytes

    @property
    def duration_s(self) -> float:
        return (self.stop - self.start) / self.frame_bytes / max(1, self.sample_rate_hz)


def read_wav_layout(file: FileIO) -> WavLayout | None:
    """The layout of a WAV file of integers or floats; None for other files. Raises InvalidAudio.

    A size of the sound that was never filled in, or that the file contradicts, gives way to the file's own.
    """
    n_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(12)
    if head[:4] not in (b"RIFF", b"RF64", b"BW64") or head[8:] != b"WAVE":
        return None
    layout, long_bytes, is_regular = None, 0, head[:4] == b"RIFF"
    for name, start, size, is_padded in iter_chunks(file, 12):
        is_regular = is_regular and is_padded
        file.seek(start)
        if name == b"fmt ":
            layout = _parse_format(file.read(min(size, 40)))
            if not layout:
                return None
        elif name == b"ds64":
            long_bytes = int.from_bytes(file.read(16)[8:], "little")
        elif name == b"data" and layout:
            stated = size if size != 0xFFFFFFFF or not long_bytes else long_bytes
            return _find_end(file, replace(layout, start=start), stated, n_bytes, is_regular)
    return None


def iter_chunks(file: BinaryIO, at: int) -> Iterator[tuple[bytes, int, int, bool]]:
    """Yield name, start and size of RIFF chunks from `at` on, and whether the pads of those before each are there."""
    is_padded = True
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        header = file.read(8)
        if len(header) < 8:
            return
        name, size = header[:4], int.from_bytes(header[4:], "little")
        yield name, at + 8, size, is_padded
        at += 8 + size
        file.seek(at)
        if size % 2 and not CHUNK_ID.fullmatch(file.read(4)):
            at += 1
        elif size % 2:
            is_padded = False


def _parse_format(content: bytes) -> WavLayout | None:
    """The format of samples; None for codecs. Raises InvalidAudio."""
    if len(content) < 16:
        return None
    tag, n_channels, sample_rate_hz, _, align, bits = struct.unpack_from("<HHIIHH", content)
    valid_bits = bits
    if tag == EXTENSIBLE and len(content) >= 26:
        tag = int.from_bytes(content[24:26], "little")
        valid_bits = int.from_bytes(content[18:20], "little") or bits
    if tag not in (PCM, IEEE_FLOAT) or not n_channels or not 0 < valid_bits <= bits <= 64:
        return None
    word_bytes = (bits + 7) // 8
    if align not in (0, n_channels * word_bytes):
        word_bytes, rest = divmod(align, n_channels)
        if rest or tag != PCM or word_bytes not in (3, 4) or valid_bits > 8 * word_bytes:
            raise InvalidAudio(f"{n_channels} channels of {bits} bits do not fit its block align of {align} bytes")
    if (tag == IEEE_FLOAT and word_bytes not in (4, 8)) or (tag == PCM and word_bytes > 4):
        return None
    is_regular = align == n_channels * word_bytes and (tag == IEEE_FLOAT or valid_bits == 8 * word_bytes)
    return WavLayout(
        sample_rate_hz, n_channels, tag, word_bytes, valid_bits, word_bytes > (bits + 7) // 8, 0, 0, is_regular
    )


def _find_end(file: FileIO, layout: WavLayout, stated: int, n_bytes: int, is_regular: bool) -> WavLayout:
    """The layout with the end of its sound; `stated` is the size in the header."""
    frame_bytes, left, warnings = layout.frame_bytes, n_bytes - layout.start, list[str]()
    size, as_stated = -(-stated // frame_bytes) * frame_bytes, replace(layout, stop=layout.start + stated)
    if stated > left and stated < MIN_OPEN_BYTES:
        warnings.append(
            f"it breaks off at {left / stated * as_stated.duration_s:.2f} s of {as_stated.duration_s:.2f} s"
        )
    if size > left:
        size, is_regular = left, False
    elif left - size:
        behind = _what_follows(file, layout.start + stated, n_bytes)
        if behind == "recording":
            warnings.append(f"another recording follows at {as_stated.duration_s:.2f} s, which is not read")
        elif behind == "unknown" and left - size >= MIN_UNSTATED_BYTES:
            size, is_regular = left, False
            if stated:
                warnings.append(f"its header states {as_stated.duration_s:.2f} s; what follows is read as well")
    is_regular = is_regular and layout.is_regular and size > 0 and stated % frame_bytes == 0
    stop = layout.start + size // frame_bytes * frame_bytes
    return replace(layout, stop=stop, is_regular=is_regular, warnings=tuple(warnings))


def _what_follows(file: FileIO, at: int, n_bytes: int) -> str:
    """What stands behind the sound: "chunks" of the file, another "recording", or "unknown" bytes."""
    for start in (at + at % 2, at):  # also without its pad
        file.seek(start)
        header = file.read(12)
        if header[:4] in (b"RIFF", b"RF64", b"BW64") and header[8:] == b"WAVE":
            return "recording"
        if CHUNK_ID.fullmatch(header[:4]) and int.from_bytes(header[4:8], "little") <= n_bytes - start - 8:
            return "chunks"
    return "unknown"


def count_unstated_bytes(file: FileIO) -> int:
    """Bytes from the file's position on, where they are many and no chunks."""
    at = file.tell()
    beginning, n_left = file.read(5), file.seek(0, io.SEEK_END) - at
    is_chunk = any(CHUNK_ID.fullmatch(beginning[pad : pad + 4]) for pad in (0, 1))
    return n_left if n_left >= MIN_UNSTATED_BYTES and not is_chunk else 0


def read_wav_blocks(file: FileIO, layout: WavLayout, n_values: int) -> Iterator[tuple[npt.NDArray[np.generic], float]]:
    """Blocks [n_channels, n_samples] of about `n_values` values, and what they are at full scale."""
    n_left, block_bytes = layout.stop - layout.start, max(1, n_values // layout.n_channels) * layout.frame_bytes
    shift = _missing_shift(file, layout)
    file.seek(layout.start)
    while n_left and (block := file.read(min(block_bytes, n_left))):
        n_left -= len(block)
        block = block[: len(block) // layout.frame_bytes * layout.frame_bytes]
        values, full_scale = _parse_words(block, layout)
        yield values.reshape(-1, layout.n_channels).T, full_scale / 2**shift


def _parse_words(content: bytes, layout: WavLayout) -> tuple[npt.NDArray[np.generic], float]:
    """Numbers, and what they are at full scale."""
    if layout.tag == IEEE_FLOAT:
        return np.frombuffer(content, f"<f{layout.word_bytes}"), 1.0
    if layout.word_bytes == 1:
        return np.frombuffer(content, np.uint8).astype(np.int16) - 128, 128.0
    if layout.word_bytes == 3:
        words = np.zeros((len(content) // 3, 4), np.uint8)
        words[:, 1:] = np.frombuffer(content, np.uint8).reshape(-1, 3)
        return words.view("<i4")[:, 0], 2.0**31
    return np.frombuffer(content, f"<i{layout.word_bytes}"), 2.0 ** (8 * layout.word_bytes - 1)


def _missing_shift(file: FileIO, layout: WavLayout) -> int:
    """By how many bits samples are to be shifted up that are in the low bits of their words.

    The standard has them in the high bits, and zeros below. Recorders write both, and headers do not tell which. Where
    the bits do not either, the standard holds for words that are as wide as the header says.
    """
    spare_bits = 8 * layout.word_bytes - layout.valid_bits
    if layout.tag != PCM or layout.word_bytes == 1 or not spare_bits:
        return 0
    span, largest, any_low = layout.stop - layout.start, 0, False
    n_probes = min(N_PROBES, span // PROBE_BYTES + 1)
    for number in range(n_probes):
        at = span * number // n_probes
        file.seek(layout.start + at // layout.frame_bytes * layout.frame_bytes)
        content = file.read(min(PROBE_BYTES // layout.frame_bytes * layout.frame_bytes or layout.frame_bytes, span))
        words, _ = _parse_words(content[: len(content) // layout.frame_bytes * layout.frame_bytes], layout)
        values = words.astype(np.int64) >> (8 if layout.word_bytes == 3 else 0)
        largest = max(largest, int(values.max(initial=0)), -1 - int(values.min(initial=0)))
        any_low = any_low or bool((values & ((1 << spare_bits) - 1)).any())
    fits_low_bits = largest < 1 << (layout.valid_bits - 1)
    return spare_bits if fits_low_bits and (any_low or layout.is_wide) else 0
