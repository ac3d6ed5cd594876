"""What soundfile reads: blocks of mono float32."""

import os
import re
from collections.abc import Collection, Iterator
from io import FileIO

import soundfile

from preprocess.audio.blocks import BLOCK_VALUES, Block, FailedRead
from preprocess.audio.downmix import Downmix
from preprocess.audio.ogg_links import FileSection
from preprocess.audio.wav_header import count_unstated_bytes

WAV_FORMATS = ("WAV", "WAVEX", "RF64")
PLAIN_SUBTYPES = ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")
"""Those of which read_wav_layout has checked that the file holds the sound."""
CHECKED_FORMATS = (*WAV_FORMATS, "OGG")
"""Formats whose lengths have been checked, by read_wav_layout and is_intact_vorbis."""
MISSING_BYTES = re.compile(r"^ *(?:data|SSND|BODY|Data Size|riff) *: (\d+) \(should be (\d+)\)", re.MULTILINE)
"""What libsndfile's log says where the header of WAV, AIFF, SVX, AU or W64 states more bytes than the file has."""
TRUNCATED = re.compile(r"seems to be (?:a )?truncated", re.IGNORECASE)
"""And where that of VOC or MAT4 does."""
NIST_SAMPLES = re.compile(rb"^sample_count -i (\d+)", re.MULTILINE)
NIST_HEADER_BYTES = 1024
MIN_OPEN_BYTES = 0x7F000000
"""Sizes from here on are what programs write that do not know the end; sox writes this one to AIFF."""
SNDFILE_SYSTEM_ERROR = 2
"""libsndfile's number for an error of the operating system."""


class _SequentialSoundFile(soundfile.SoundFile):
    """Reads straight on. SoundFile seeks after every read, which changes MP3 samples."""

    def seekable(self) -> bool:
        return False


def decode_with_soundfile(
    file: FileIO | FileSection, downmix: Downmix, warnings: list[str], skipped_formats: Collection[str] = ()
) -> Iterator[Block]:
    """Blocks by soundfile; none of skipped formats.

    Raises SoundFileError where it cannot begin, and FailedRead where a disk fails amid a WAV, if only once.
    """
    with _SequentialSoundFile(file if isinstance(file, FileSection) else file.fileno(), closefd=False) as sound:
        if sound.format in skipped_formats or sound.subtype in skipped_formats:
            return
        n_samples, n_read = max(1, BLOCK_VALUES // sound.channels), 0
        # libsndfile's own float32 has the same values, but is slower for WAV.
        dtype, full_scale = ("int16", 1 << 15) if sound.subtype == "PCM_16" else ("float32", 1)
        try:
            while len(block := sound.read(min(n_samples, sound.frames - n_read), dtype=dtype, always_2d=True)):
                yield sound.samplerate, downmix(block.T, full_scale)
                n_read += len(block)
        except soundfile.SoundFileError as error:
            if getattr(error, "code", 0) == SNDFILE_SYSTEM_ERROR:  # of the disk, or from a damaged header
                file.seek(0)
                while file.read(BLOCK_VALUES):  # sets file.read_error if the disk fails
                    pass
                if sound.format in WAV_FORMATS and sound.subtype in PLAIN_SUBTYPES:  # its sound lies within the file
                    raise FailedRead(f"cannot be read to its end: {error_text(error)}") from error
            if not n_read:
                raise
            warnings.append(f"cannot be read from {n_read / sound.samplerate:.2f} s on: {error_text(error)}")
        else:
            sizes = MISSING_BYTES.search(sound.extra_info)
            # A byte may be missing that fills up a chunk.
            is_smaller = sizes and int(sizes[2]) + 1 < int(sizes[1]) < MIN_OPEN_BYTES
            is_cut = is_smaller or TRUNCATED.search(sound.extra_info)
            if n_read and (is_cut or (sound.format == "NIST" and _count_nist_samples(file) > n_read)):
                warnings.append(f"it breaks off at {n_read / sound.samplerate:.2f} s")
        if sound.format == "OGG" and n_read < sound.frames:
            warnings.append(f"damaged: {(sound.frames - n_read) / sound.samplerate:.2f} s of its sound are missing")
        if not isinstance(file, FileIO) or sound.format in CHECKED_FORMATS:
            return
        if n_read and (n_left := count_unstated_bytes(file)):
            warnings.append(f"its header states {n_read / sound.samplerate:.2f} s; {n_left} bytes behind are not read")


def _count_nist_samples(file: FileIO | FileSection) -> int:
    """Samples a channel by the header of NIST, which libsndfile does not log; the file's position stays."""
    stated = NIST_SAMPLES.search(os.pread(file.fileno(), NIST_HEADER_BYTES, 0))
    return int(stated[1]) if stated else 0


def error_text(error: Exception) -> str:
    """An error of libsndfile in words."""
    return str(getattr(error, "error_string", error)).rstrip(".")
