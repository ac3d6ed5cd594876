"""Any audio file → blocks of mono float32 at a chosen rate, in bounded memory; one error type, DecodeError."""

import os
import stat
from collections.abc import Iterable, Iterator
from errno import EINVAL
from io import FileIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import soundfile
import soxr

from core.sandbox import report_progress
from preprocess.audio.blocks import Block, DecodeError, InvalidAudio, merge_blocks
from preprocess.frames.framing import Samples

BLOCK_VALUES = 1 << 18
"""Values (samples x channels) read at once: 1 MB, 6 s of 44.1 kHz mono."""
MAX_SAMPLE = 1e8
"""Samples beyond this are no sound, and their power overflows float32."""
SNDFILE_SYSTEM_ERROR = 2
"""libsndfile's number for an error of the operating system."""
MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 100, 10_000_000
"""Rates beyond these are damage: resampled, they would fill a disk or leave nothing."""


def decode_blocks(path: Path | str, sample_rate_hz: int) -> Iterator[Samples]:
    """Yield a recording as blocks of mono float32 [n_samples] at `sample_rate_hz`, the average of its channels.

    The content decides the format, not the name. Of sound that breaks off, the beginning is yielded. Raises
    DecodeError.
    """
    with _open_regular_file(Path(path)) as file:
        any_yielded = False
        try:
            for block in filter(len, _resample(_validate_blocks(_decode_native(file)), sample_rate_hz)):
                any_yielded = True
                yield block
            if not any_yielded:
                raise InvalidAudio(f"it is shorter than one sample at {sample_rate_hz} Hz")
        except InvalidAudio as error:
            if not file.read_error:
                raise DecodeError(path, str(error)) from error
        if file.read_error:
            reason = file.read_error.strerror or str(file.read_error)
            raise DecodeError(path, f"cannot be read to its end: {reason}", transient=True) from file.read_error


class _ErrorRecordingFile(FileIO):
    """A file that keeps the `read_error` of a failed read, which FFmpeg takes for the end of the sound."""

    read_error: OSError | None = None

    def read(self, size: int | None = -1, /) -> bytes:
        try:
            return super().read(size)
        except OSError as error:
            self.read_error = error
            return b""

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        try:
            return super().seek(offset, whence)
        except OSError as error:
            if error.errno != EINVAL:  # a damaged header leads nowhere
                self.read_error = error
            raise


def _open_regular_file(path: Path) -> _ErrorRecordingFile:
    """Open a file, but no pipe or device, which may never end. Raises DecodeError."""
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError(path, "not a file but a folder, a pipe or a device", transient=True)
        if status.st_size == 0:
            raise DecodeError(path, "the file is empty (0 bytes)")
        return _ErrorRecordingFile(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DecodeError(path, f"cannot be opened: {reason}", transient=True) from error


def _decode_native(file: _ErrorRecordingFile) -> Iterator[Block]:
    """Blocks by soundfile, or by PyAV where soundfile refuses the file or finds no sound in it."""
    blocks, soundfile_error = _soundfile_blocks(file), "no samples"
    try:
        first = next(blocks, None)
    except soundfile.SoundFileError as error:
        first, soundfile_error = None, _error_text(error)
    if first is None:
        # The import of PyAV takes a tenth of a second, and most workers do not need it.
        from preprocess.audio.decode_ffmpeg import decode_with_ffmpeg

        file.seek(0)
        for sample_rate_hz, group in groupby(decode_with_ffmpeg(file, soundfile_error), itemgetter(0)):
            for block in merge_blocks((samples for _, samples in group), BLOCK_VALUES):
                yield sample_rate_hz, block
        return
    yield first
    try:
        yield from blocks
    except soundfile.SoundFileError as error:
        if getattr(error, "code", 0) == SNDFILE_SYSTEM_ERROR:  # of the disk, or from a damaged header
            file.seek(0)
            while file.read(BLOCK_VALUES):  # sets file.read_error if the disk fails
                pass
        raise InvalidAudio(f"damaged: {_error_text(error)}") from error


class _SequentialSoundFile(soundfile.SoundFile):
    """Reads straight on. SoundFile seeks after every read, which changes MP3 samples and fails in unfinished FLACs."""

    def seekable(self) -> bool:
        return False


def _soundfile_blocks(file: _ErrorRecordingFile) -> Iterator[Block]:
    with _SequentialSoundFile(file.fileno(), closefd=False) as sound:
        n_samples = max(1, BLOCK_VALUES // sound.channels)
        # libsndfile's own float32 has the same values, but is slower for WAV.
        dtype, full_scale = ("int16", 1 << 15) if sound.subtype == "PCM_16" else ("float32", 1)
        weights = np.full(sound.channels, 1 / (full_scale * sound.channels), np.float32)
        while len(block := sound.read(n_samples, dtype=dtype, always_2d=True)):
            if sound.channels == 1:
                yield sound.samplerate, np.multiply(block[:, 0], weights[0], dtype=np.float32)
            else:
                yield sound.samplerate, block.astype(np.float32, copy=False) @ weights  # faster than a mean


def _error_text(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")


def _validate_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Pass on blocks of sound. Raises InvalidAudio for NaN, infinity, impossible rates and rates that change."""
    first_hz, n_samples = 0, 0
    for sample_rate_hz, block in blocks:
        report_progress()
        first_hz = first_hz or sample_rate_hz
        if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise InvalidAudio(f"its sample rate is {sample_rate_hz} Hz")
        at = f"{n_samples / first_hz:.1f} s"
        if sample_rate_hz != first_hz:
            raise InvalidAudio(f"its sample rate changes from {first_hz} to {sample_rate_hz} Hz at {at}")
        if len(block) and not -MAX_SAMPLE <= block.min() <= block.max() <= MAX_SAMPLE:  # NaN fails this too
            raise InvalidAudio(f"samples that are not numbers, or far too large, after {at}")
        n_samples += len(block)
        yield sample_rate_hz, block
    if not n_samples:
        raise InvalidAudio("there are no samples in it")


def _resample(blocks: Iterable[Block], sample_rate_hz: int) -> Iterator[Samples]:
    """Blocks at `sample_rate_hz`, some of which may be empty."""
    stream = None
    for source_hz, block in blocks:
        if source_hz != sample_rate_hz:
            stream = stream or soxr.ResampleStream(source_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
            block = stream.resample_chunk(block)
        yield block
    if stream:
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
