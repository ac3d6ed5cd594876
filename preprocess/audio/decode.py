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

from core.sandbox import report_progress
from preprocess.audio.blocks import Block, DecodeError, InvalidAudio
from preprocess.frames.framing import Samples

BLOCK_VALUES = 1 << 18
"""Values (samples x channels) read at once: 1 MB, 6 s of 44.1 kHz mono."""
MAX_SAMPLE = 1e8
"""Samples beyond this are no sound, and their power would leave float32."""
SNDFILE_SYSTEM_ERROR = 2
"""libsndfile's number for it."""
MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 100, 10_000_000
"""Rates beyond these are damage: resampled, they would fill a disk or leave nothing."""


def decode_blocks(path: Path | str, sample_rate_hz: int) -> Iterator[Samples]:
    """Yield a recording as blocks of mono float32 [n_samples] at `sample_rate_hz`; joined, they are the recording.

    Its content decides the format, never its name or a declared length. Channels are averaged. Sound that breaks off
    counts as far as it goes. Raises DecodeError.
    """
    with _open_regular_file(Path(path)) as file:
        try:
            yield from _resample(_validate_blocks(_decode_native(file)), sample_rate_hz)
        except InvalidAudio as error:
            if not file.read_error:
                raise DecodeError(path, str(error)) from error
        if file.read_error:
            reason = file.read_error.strerror or str(file.read_error)
            raise DecodeError(path, f"cannot be read to its end: {reason}", transient=True) from file.read_error


def decode(path: Path | str, sample_rate_hz: int) -> Samples:
    """The whole recording, mono float32 [n_samples] at `sample_rate_hz`. Raises DecodeError."""
    return np.concatenate(list(decode_blocks(path, sample_rate_hz)))


class _ErrorRecordingFile(FileIO):
    """Remembers the `read_error` of a read that failed, which FFmpeg takes for the end of the sound."""

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
            if error.errno != EINVAL:  # a damaged header's, that leads nowhere
                self.read_error = error
            raise

    def read_to_end(self) -> None:
        """For its `read_error`, if there is any."""
        self.seek(0)
        while self.read(BLOCK_VALUES):
            pass


@contextmanager
def _open_regular_file(path: Path) -> Iterator[_ErrorRecordingFile]:
    """The open file. Only a regular one: a pipe or a device may never end."""
    try:
        # A pipe without a writer must not block us here.
        file = _ErrorRecordingFile(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise DecodeError(path, f"cannot be opened: {reason}", transient=True) from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DecodeError(path, "not a file but a folder, a pipe or a device", transient=True)
        if status.st_size == 0:
            raise DecodeError(path, "the file is empty (0 bytes)")
        yield file


def _decode_native(file: _ErrorRecordingFile) -> Iterator[Block]:
    """Blocks by soundfile, or by PyAV where soundfile refuses the file or finds no sound in it."""
    blocks, soundfile_error = _soundfile_blocks(file), "no samples"
    try:
        first = next(blocks, None)
    except soundfile.SoundFileError as error:
        first, soundfile_error = None, _error_text(error)
    if first is None:
        # PyAV takes a tenth of a second that most workers never need.
        from preprocess.audio.decode_ffmpeg import decode_with_ffmpeg

        file.seek(0)
        yield from _merge_small_blocks(decode_with_ffmpeg(file, soundfile_error))
        return
    yield first
    try:
        yield from blocks
    except soundfile.SoundFileError as error:
        if getattr(error, "code", 0) == SNDFILE_SYSTEM_ERROR:  # the disk's, or a damaged header's
            file.read_to_end()
        raise InvalidAudio(f"damaged: {_error_text(error)}") from error


class _SequentialSoundFile(soundfile.SoundFile):
    """Reads straight on. SoundFile seeks after every read, which changes MP3 samples and fails in unfinished FLACs."""

    def seekable(self) -> bool:
        return False


def _soundfile_blocks(file: _ErrorRecordingFile) -> Iterator[Block]:
    with _SequentialSoundFile(file.fileno(), closefd=False) as sound:
        n_samples = max(1, BLOCK_VALUES // sound.channels)
        # The same numbers as libsndfile's own float32, which takes three times as long for a WAV.
        dtype, full_scale = ("int16", 1 << 15) if sound.subtype == "PCM_16" else ("float32", 1)
        weights = np.full(sound.channels, 1 / (full_scale * sound.channels), np.float32)
        while len(block := sound.read(n_samples, dtype=dtype, always_2d=True)):
            yield sound.samplerate, _downmix(block, weights)


def _downmix(block: npt.NDArray[Any], weights: Samples) -> Samples:
    """[n_samples, n_channels] → [n_samples]. The product takes a 25th of the time of a mean over two channels."""
    if len(weights) == 1:
        return np.multiply(block[:, 0], weights[0], dtype=np.float32)
    return block.astype(np.float32, copy=False) @ weights


def _error_text(error: Exception) -> str:
    return str(getattr(error, "error_string", error)).rstrip(".")


def _merge_small_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Join small blocks of one rate into blocks of about BLOCK_VALUES samples."""
    pending: list[Samples] = []
    pending_hz, n_samples = 0, 0
    for sample_rate_hz, block in blocks:
        if pending and (sample_rate_hz != pending_hz or n_samples >= BLOCK_VALUES):
            yield pending_hz, np.concatenate(pending)
            pending, n_samples = [], 0
        pending.append(block)
        pending_hz, n_samples = sample_rate_hz, n_samples + len(block)
    if pending:
        yield pending_hz, np.concatenate(pending)


def _validate_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Pass on blocks of sound; refuse NaN, infinity, impossible rates and rates that change."""
    first_hz, n_samples = 0, 0
    for sample_rate_hz, block in blocks:
        report_progress()
        first_hz = first_hz or sample_rate_hz
        if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise InvalidAudio(f"its sample rate is {sample_rate_hz} Hz")
        if sample_rate_hz != first_hz:
            raise InvalidAudio(
                f"its sample rate changes from {first_hz} to {sample_rate_hz} Hz at {n_samples / first_hz:.1f} s"
            )
        if len(block) and not -MAX_SAMPLE <= block.min() <= block.max() <= MAX_SAMPLE:  # NaN fails this too
            raise InvalidAudio(f"samples that are not numbers, or far too large, after {n_samples / first_hz:.1f} s")
        n_samples += len(block)
        yield sample_rate_hz, block
    if not n_samples:
        raise InvalidAudio("there are no samples in it")


def _resample(blocks: Iterable[Block], sample_rate_hz: int) -> Iterator[Samples]:
    """Blocks at `sample_rate_hz`, the same whatever the size of the blocks."""
    stream, n_samples = None, 0
    for source_hz, block in blocks:
        if source_hz != sample_rate_hz:
            stream = stream or soxr.ResampleStream(source_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
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
        raise InvalidAudio(f"it is shorter than one sample at {sample_rate_hz} Hz")
