"""One recording measured: format, length, level, silence, clipping, and a digest of its sound."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import soundfile

from preprocess.audio.decode import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, decode_blocks
from preprocess.frames.framing import Samples

SILENCE_THRESHOLD_DB = -60.0
"""A stretch below this, against full scale, is silent."""
FRAME_S = 0.05
CLIPPING_LEVEL = 0.999
MIN_CLIPPED_RUN = 3
"""So many samples in a row at full scale are clipped; fewer may be a peak that just fits."""
FLOOR_DB = -120.0
DEFAULT_SAMPLE_RATE_HZ = 44_100


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    sample_rate_hz: int
    n_channels: int
    format: str


@dataclass(frozen=True)
class AudioStats:
    """What was measured of a recording, its channels averaged, at its own rate."""

    sample_rate_hz: int
    n_channels: int
    format: str
    duration_s: float
    rms_db: float
    """Root mean square against full scale."""
    peak: float
    silent_share: float
    """Of its stretches of FRAME_S."""
    clipped_share: float
    """Of its samples."""
    digest: str
    """Of its rate and samples of 16 bits: one sound in two lossless formats has one. '' where all samples are 0."""


def measure_recording(path: str) -> AudioStats:
    """Measure one recording, in bounded memory. Raises DecodeError."""
    header = read_header(path)
    meter = AudioMeter(header.sample_rate_hz)
    for block in decode_blocks(path, header.sample_rate_hz):
        meter.add(block)
    return meter.stats(header)


def read_header(path: str) -> Header:
    """Rate, channels and format as the file states them. Raises DecodeError."""
    unknown_header = Header(DEFAULT_SAMPLE_RATE_HZ, 1, "unknown")
    if not Path(path).is_file():
        return unknown_header  # for the decoder to say why
    try:
        info = soundfile.info(path)
        header = Header(info.samplerate, info.channels, f"{info.format} {info.subtype}")
    except soundfile.SoundFileError:
        # PyAV takes a tenth of a second that most sets never need.
        from preprocess.audio.decode_ffmpeg import read_ffmpeg_header

        stated = read_ffmpeg_header(path)
        header = Header(*stated) if stated else unknown_header
    return header if MIN_SAMPLE_RATE_HZ <= header.sample_rate_hz <= MAX_SAMPLE_RATE_HZ else unknown_header


class AudioMeter:
    """Measures sound that comes in blocks of any size; the blocks' borders leave no trace."""

    def __init__(self, sample_rate_hz: int) -> None:
        self.sample_rate_hz = sample_rate_hz
        self._frame_length = max(1, round(FRAME_S * sample_rate_hz))
        self._n_samples = self._n_clipped = self._n_frames = self._n_silent = 0
        self._energy = self._peak = 0.0
        self._digest, self._any_nonzero = blake2b(f"{sample_rate_hz} Hz".encode(), digest_size=16), False
        self._rest = np.zeros(0, np.float32)
        self._run = 0

    def add(self, block: Samples) -> None:
        """Measure the next samples."""
        self._n_samples += len(block)
        self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
        rounded = (np.clip(block, -1, 1) * 32767).round().astype("<i2")
        self._digest.update(rounded.tobytes())
        self._any_nonzero = self._any_nonzero or bool(rounded.any())
        self._add_clipped(np.abs(block) >= CLIPPING_LEVEL)
        sound = np.concatenate([self._rest, block])
        n_whole = len(sound) // self._frame_length * self._frame_length
        self._add_frames(sound[:n_whole].reshape(-1, self._frame_length))
        self._rest = sound[n_whole:]

    def _add_clipped(self, full: np.ndarray) -> None:
        """Count samples in runs of MIN_CLIPPED_RUN or more at full scale; one may have begun in the last block."""
        for run in np.split(full, np.flatnonzero(np.diff(full)) + 1) if full.any() else [full]:
            before = self._run
            self._run = before + len(run) if run.all() else 0  # a run is all or nothing; an empty block changes nothing
            if self._run >= MIN_CLIPPED_RUN:
                self._n_clipped += self._run if before < MIN_CLIPPED_RUN else len(run)

    def _add_frames(self, frames: np.ndarray) -> None:
        energy = np.einsum("ij,ij->i", frames, frames, dtype=np.float64)
        self._energy += float(energy.sum())
        self._n_frames += len(frames)
        self._n_silent += int((energy < frames.shape[1] * 10 ** (SILENCE_THRESHOLD_DB / 10)).sum())

    def stats(self, header: Header) -> AudioStats:
        """What was measured; the last stretch may be short."""
        if len(self._rest):
            self._add_frames(self._rest[None])
            self._rest = self._rest[:0]
        power = self._energy / max(self._n_samples, 1)
        return AudioStats(
            header.sample_rate_hz,
            header.n_channels,
            header.format,
            self._n_samples / self.sample_rate_hz,
            max(FLOOR_DB, 10 * float(np.log10(power))) if power else FLOOR_DB,
            self._peak,
            self._n_silent / max(self._n_frames, 1),
            self._n_clipped / max(self._n_samples, 1),
            self._digest.hexdigest() if self._any_nonzero else "",
        )
