"""Any audio file → blocks of mono float32 at a chosen rate, in bounded memory; one error type, DecodeError."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from errno import EINVAL
from io import FileIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from preprocess.audio.blocks import Block, DecodeError, Refused
from preprocess.frames.framing import Samples

BLOCK_VALUES = 1 << 18
"""Values (samples x channels) read at once: 1 MB, 6 s of 44.1 kHz mono."""
LOUDEST = 1e8
"""Samples beyond this are no sound, and their power would leave float32."""
SYSTEM_ERROR = 2
"""libsndfile's number for it."""
SLOWEST_HZ, FASTEST_HZ = 100, 10_000_000
"""Rates beyond these are damage: resampled, they would fill a disk or leave nothing."""


def decode_blocks(path: Path | str, rate_hz: int) -> Iterator[Samples]:
    """Yield a recording as blocks of mono float32 [n_samples] at `rate_hz`; joined, they are the recording.

    Its content decides the format, never its name or a declared length. Channels are averaged. Sound that breaks off
    counts as far as it goes. Raises DecodeError.
    """
    with _opened(Path(path)) as file:
        try:
            yield from _resampled(_checked(_native_blocks(file)), rate_hz)
        except Refused as refusal:
            if not file.trouble:
                raise DecodeError(path, str(refusal)) from refusal
        if file.trouble:
            reason = file.trouble.strerror or str(file.trouble)
            raise DecodeError(path, f"cannot be read to its end: {reason}", passing=True) from file.trouble


def decode(path: Path | str, rate_hz: int) -> Samples:
    """The whole recording, mono float32 [n_samples] at `rate_hz`. Raises DecodeError."""
    return np.concatenate(list(decode_blocks(path, rate_hz)))


class _File(FileIO):
    """Remembers the `trouble` of a read that failed, which FFmpeg takes for the end of the sound."""

    trouble: OSError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except OSError as error:
            self.trouble = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError as error:
            self.trouble = self.trouble if error.errno == EINVAL else error  # a damaged header's, that leads nowhere
            raise

    def read_to_end(self) -> None:
        """For its trouble, if there is any."""
        self.seek(0)
        while self.read(BLOCK_VALUES):
            pass


@contextmanager
def _opened(path: Path) -> Iterator[_File]:
    """The open file. Only a regular one: a pipe or a device may never end."""
    try:
        file = _File(os.open(path, os.O_RDONLY | os.O_NONBLOCK))  # a pipe without a writer must not block us here
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DecodeError(path, f"cannot be opened: {reason}", passing=True) from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError(path, "not a file but a folder, a pipe or a device", passing=True)
        if status.st_size == 0:
            raise DecodeError(path, "the file is empty (0 bytes)")
        yield file


def _native_blocks(file: _File) -> Iterator[Block]:
    """Blocks by soundfile, or by PyAV where soundfile refuses the file or finds no sound in it."""
    blocks, refusal = _soundfile_blocks(file), "no samples"
    try:
        first = next(blocks, None)
    except soundfile.SoundFileError as error:
        first, refusal = None, _in_words(error)
    if first is None:
        from preprocess.audio.decode_ffmpeg import (
            av_blocks,  # PyAV takes a tenth of a second that most workers never need
        )

        file.seek(0)
        yield from _gathered(av_blocks(file, refusal))
        return
    yield first
    try:
        yield from blocks
    except soundfile.SoundFileError as error:
        if getattr(error, "code", 0) == SYSTEM_ERROR:  # the disk's, or a damaged header's
            file.read_to_end()
        raise Refused(f"damaged: {_in_words(error)}") from error


class _Onward(soundfile.SoundFile):
    """Reads straight on. SoundFile seeks after every read, which changes MP3 samples and fails in unfinished FLACs."""

    def seekable(self) -> bool:
        return False


def _soundfile_blocks(file: _File) -> Iterator[Block]:
    with _Onward(file.fileno(), closefd=False) as sound:
        n_samples = max(1, BLOCK_VALUES // sound.channels)
        # The same numbers as libsndfile's own float32, which takes three times as long for a WAV.
        dtype, full_scale = ("int16", 1 << 15) if sound.subtype == "PCM_16" else ("float32", 1)
        weights = np.full(sound.channels, 1 / (full_scale * sound.channels), np.float32)
        while len(block := sound.read(n_samples, dtype=dtype, always_2d=True)):
            yield sound.samplerate, _weighted(block, weights)


def _weighted(block: npt.NDArray[Any], weights: Samples) -> Samples:
    """[n_samples, n_channels] → [n_samples]. The product takes a 25th of the time of a mean over two channels."""
    if len(weights) == 1:
        return np.multiply(block[:, 0], weights[0], dtype=np.float32)
    return block.astype(np.float32, copy=False) @ weights


def _in_words(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")


def _gathered(blocks: Iterable[Block]) -> Iterator[Block]:
    """Join small blocks of one rate into blocks of about BLOCK_VALUES samples."""
    waiting: list[Samples] = []
    waiting_hz, n_samples = 0, 0
    for rate_hz, block in blocks:
        if waiting and (rate_hz != waiting_hz or n_samples >= BLOCK_VALUES):
            yield waiting_hz, np.concatenate(waiting)
            waiting, n_samples = [], 0
        waiting.append(block)
        waiting_hz, n_samples = rate_hz, n_samples + len(block)
    if waiting:
        yield waiting_hz, np.concatenate(waiting)


def _checked(blocks: Iterable[Block]) -> Iterator[Block]:
    """Pass on blocks of sound; refuse NaN, infinity, impossible rates and rates that change."""
    first_hz, n_samples = 0, 0
    for rate_hz, block in blocks:
        first_hz = first_hz or rate_hz
        if not SLOWEST_HZ <= rate_hz <= FASTEST_HZ:
            raise Refused(f"its sample rate is {rate_hz} Hz")
        if rate_hz != first_hz:
            raise Refused(f"its sample rate changes from {first_hz} to {rate_hz} Hz at {n_samples / first_hz:.1f} s")
        if len(block) and not -LOUDEST <= block.min() <= block.max() <= LOUDEST:  # NaN fails this too
            raise Refused(f"samples that are not numbers, or far too large, after {n_samples / first_hz:.1f} s")
        n_samples += len(block)
        yield rate_hz, block
    if not n_samples:
        raise Refused("there are no samples in it")


def _resampled(blocks: Iterable[Block], rate_hz: int) -> Iterator[Samples]:
    """Blocks at `rate_hz`, the same whatever the size of the blocks."""
    stream, n_samples = None, 0
    for source_hz, block in blocks:
        if source_hz != rate_hz:
            stream = stream or soxr.ResampleStream(source_hz, rate_hz, 1, dtype="float32", quality="HQ")
            block = stream.resample_chunk(block)
        n_samples += len(block)
        if len(block):
            yield block
    if stream:
        block = stream.resample_chunk(np.zeros(0, np.float32), last=True)
        n_samples += len(block)
        if len(block):
            yield block
    if not n_samples:
        raise Refused(f"it is shorter than one sample at {rate_hz} Hz")
