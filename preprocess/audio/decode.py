"""Any audio file → blocks of mono float32 at a chosen rate, in bounded memory; one error type, DecodeError."""

import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import suppress
from errno import EINVAL
from io import FileIO
from itertools import groupby
from operator import itemgetter
from pathlib import Path

import numpy as np
import soundfile
import soxr

from core.sandbox import report_progress
from preprocess.audio.blocks import BLOCK_VALUES, Block, DecodeError, FailedRead, InvalidAudio, UnknownFormat
from preprocess.audio.decode_soundfile import decode_with_soundfile, error_text
from preprocess.audio.downmix import Downmix
from preprocess.audio.ogg_links import FileSection, is_intact_vorbis, split_ogg_links
from preprocess.audio.wav_header import read_wav_blocks, read_wav_layout
from preprocess.frames.framing import Samples

BY_FFMPEG = ("FLAC", "OGG", "MP3", "MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III")
"""Formats and codecs that PyAV reads to their end, whatever their headers say, but for intact Vorbis."""
MAX_SAMPLE = 1e8
"""Samples beyond this are no sound, and their power overflows float32."""
MIN_SAMPLE_RATE_HZ, MAX_SAMPLE_RATE_HZ = 100, 10_000_000
"""Rates beyond these are damage: resampled, they would fill a disk or leave nothing."""


def decode_blocks(
    path: Path | str, sample_rate_hz: int, channel: str | int = "mean", warnings: list[str] | None = None
) -> Iterator[Samples]:
    """Yield a recording as blocks of mono float32 [n_samples] at `sample_rate_hz`, of features.channel.

    The content decides the format, not the name. What can be read is yielded; at the end, `warnings` has what cannot.
    Raises DecodeError.
    """
    warnings = [] if warnings is None else warnings
    with _open_regular_file(Path(path)) as file:
        any_yielded, downmix = False, Downmix(channel)
        try:
            native = _validate_blocks(_decode_native(file, downmix, warnings))
            for block in filter(len, _resample(native, sample_rate_hz)):
                any_yielded = True
                yield block
            if not any_yielded:
                raise InvalidAudio(f"it is shorter than one sample at {sample_rate_hz} Hz")
            warnings += downmix.warnings()
        except InvalidAudio as error:
            if not file.read_error:
                raise DecodeError(path, str(error), transient=isinstance(error, FailedRead)) from error
        if file.read_error:
            reason = file.read_error.strerror or str(file.read_error)
            raise DecodeError(path, f"cannot be read to its end: {reason}", transient=True) from file.read_error


def find_sample_rate(path: Path | str) -> int:
    """The rate in Hz of a recording, of its first samples. Raises DecodeError."""
    with _open_regular_file(Path(path)) as file:
        try:
            return next(_validate_blocks(_decode_native(file, Downmix("mean"), [])))[0]
        except InvalidAudio as error:
            raise DecodeError(path, str(error)) from error


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


def _decode_native(file: _ErrorRecordingFile, downmix: Downmix, warnings: list[str]) -> Iterator[Block]:
    """Blocks of PCM by soundfile, or as the file says where its header misleads soundfile; of all else by PyAV."""
    if (layout := read_wav_layout(file)) and not layout.is_regular:
        warnings += layout.warnings
        for values, full_scale in read_wav_blocks(file, layout, BLOCK_VALUES):
            yield layout.sample_rate_hz, downmix(values, full_scale)
        return
    warnings += layout.warnings if layout else ()
    file.seek(0)
    is_compressed = file.read(4) in (b"OggS", b"fLaC")
    file.seek(0)
    any_decoded = False
    with suppress(soundfile.SoundFileError):
        for block in decode_with_soundfile(file, downmix, warnings, BY_FFMPEG) if not is_compressed else ():
            any_decoded = True
            yield block
    if any_decoded:
        return
    try:
        yield from _decode_links(file, downmix, warnings)
    except UnknownFormat:
        file.seek(0)
        try:  # MP3 of free format, for one
            yield from decode_with_soundfile(file, downmix, warnings)
        except soundfile.SoundFileError as error:
            raise InvalidAudio(f"neither soundfile nor PyAV can read it ({error_text(error)})") from None


def _decode_links(file: FileIO, downmix: Downmix, warnings: list[str]) -> Iterator[Block]:
    """Blocks of the links of an Ogg file, or of another file whole: intact Vorbis by soundfile, all else by PyAV."""
    start_s = 0.0
    for link in split_ogg_links(file):
        try:
            for sample_rate_hz, samples in _decode_link(link, downmix, warnings, start_s):
                yield sample_rate_hz, samples
                start_s += len(samples) / sample_rate_hz
        except (InvalidAudio, soundfile.SoundFileError) as error:
            if not start_s:
                raise error if isinstance(error, InvalidAudio) else UnknownFormat from error
            warnings.append(f"cannot be read from {start_s:.2f} s on: {error}")


def _decode_link(link: FileSection, downmix: Downmix, warnings: list[str], start_s: float) -> Iterator[Block]:
    is_by_soundfile = is_intact_vorbis(link)
    link.seek(0)
    if is_by_soundfile:
        yield from decode_with_soundfile(link.whole_file or link, downmix, warnings)
        return
    # The import of PyAV takes a tenth of a second, and not all workers need it.
    from preprocess.audio.decode_ffmpeg import decode_with_ffmpeg

    yield from decode_with_ffmpeg(link, downmix, warnings, start_s)


def _validate_blocks(blocks: Iterable[Block]) -> Iterator[Block]:
    """Pass on blocks of sound. Raises InvalidAudio for NaN, infinity and impossible rates."""
    duration_s, n_samples = 0.0, 0
    for sample_rate_hz, block in blocks:
        report_progress()
        if not MIN_SAMPLE_RATE_HZ <= sample_rate_hz <= MAX_SAMPLE_RATE_HZ:
            raise InvalidAudio(f"its sample rate is {sample_rate_hz} Hz")
        if len(block) and not -MAX_SAMPLE <= block.min() <= block.max() <= MAX_SAMPLE:  # NaN fails this too
            raise InvalidAudio(f"samples that are not numbers, or far too large, after {duration_s:.1f} s")
        duration_s, n_samples = duration_s + len(block) / sample_rate_hz, n_samples + len(block)
        yield sample_rate_hz, block
    if not n_samples:
        raise InvalidAudio("there are no samples in it")


def _resample(blocks: Iterable[Block], sample_rate_hz: int) -> Iterator[Samples]:
    """Blocks at `sample_rate_hz` of about BLOCK_VALUES at most, some of which may be empty.

    Where the rate changes, as between the links of a chained Ogg file, another conversion begins.
    """
    for source_hz, same_rate in groupby(blocks, itemgetter(0)):
        if source_hz == sample_rate_hz:
            yield from (block for _, block in same_rate)
            continue
        stream = soxr.ResampleStream(source_hz, sample_rate_hz, 1, dtype="float32", quality="HQ")
        n_samples = max(1, BLOCK_VALUES * source_hz // sample_rate_hz)  # which become BLOCK_VALUES
        for _, block in same_rate:
            for start in range(0, len(block), n_samples):
                report_progress()
                yield stream.resample_chunk(block[start : start + n_samples])
        yield stream.resample_chunk(np.zeros(0, np.float32), last=True)
