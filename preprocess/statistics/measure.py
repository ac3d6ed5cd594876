"""One recording measured: format, length, level, silence, clipping, and a digest of its sound."""

from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
import soundfile

from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import FASTEST_HZ, SLOWEST_HZ, decode_blocks
from preprocess.audio.watchdog import watched
from preprocess.frames.framing import Samples

SILENT_DB = -60.0
"""A stretch below this, against full scale, is silent."""
STRETCH_S = 0.05
CLIPPED_FROM = 0.999
CLIPPED_RUN = 3
"""So many samples in a row at full scale are clipped; fewer may be a peak that just fits."""
FLOOR_DB = -120.0
UNREAD_RATE_HZ = 44_100


@dataclass(frozen=True)
class Header:
    """What a file says of itself."""

    rate_hz: int
    n_channels: int
    format: str


@dataclass(frozen=True)
class Heard:
    """What was measured of a recording, its channels averaged, at its own rate."""

    rate_hz: int
    n_channels: int
    format: str
    duration_s: float
    level_db: float
    """Root mean square against full scale."""
    peak: float
    silent_share: float
    """Of its stretches of STRETCH_S."""
    clipped_share: float
    """Of its samples."""
    digest: str
    """Of its rate and samples of 16 bits: one sound in two lossless formats has one. '' where all samples are 0."""


@dataclass(frozen=True)
class Unheard:
    """Why a recording could not be measured."""

    reason: str


def listen(path: str) -> Heard | Unheard:
    """Measure one recording, in bounded memory; whatever is wrong with it is an answer, not an error."""
    try:
        header = read_header(path)
        meter = Meter(header.rate_hz)
        for block in watched(decode_blocks(path, header.rate_hz)):
            meter.add(block)
        return meter.heard(header)
    except DecodeError as error:
        return Unheard(error.reason)
    except Exception as error:
        return Unheard(f"{type(error).__name__}: {error}")


def read_header(path: str) -> Header:
    """Rate, channels and format as the file states them. Raises DecodeError."""
    unread = Header(UNREAD_RATE_HZ, 1, "unknown")
    if not Path(path).is_file():
        return unread  # for the decoder to say why
    try:
        info = soundfile.info(path)
        header = Header(info.samplerate, info.channels, f"{info.format} {info.subtype}")
    except soundfile.SoundFileError:
        from preprocess.audio.decode_ffmpeg import av_header  # PyAV takes a tenth of a second that most sets never need

        stated = av_header(path)
        header = Header(*stated) if stated else unread
    return header if SLOWEST_HZ <= header.rate_hz <= FASTEST_HZ else unread


class Meter:
    """Measures sound that comes in blocks of any size; the blocks' borders leave no trace."""

    def __init__(self, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self._stretch = max(1, round(STRETCH_S * rate_hz))
        self._n_samples = self._n_clipped = self._n_stretches = self._n_silent = 0
        self._energy = self._peak = 0.0
        self._digest, self._sounds = blake2b(f"{rate_hz} Hz".encode(), digest_size=16), False
        self._rest = np.zeros(0, np.float32)
        self._run = 0

    def add(self, block: Samples) -> None:
        """Measure the next samples."""
        self._n_samples += len(block)
        self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
        rounded = (np.clip(block, -1, 1) * 32767).round().astype("<i2")
        self._digest.update(rounded.tobytes())
        self._sounds = self._sounds or bool(rounded.any())
        self._add_clipped(np.abs(block) >= CLIPPED_FROM)
        sound = np.concatenate([self._rest, block])
        n_whole = len(sound) // self._stretch * self._stretch
        self._add_stretches(sound[:n_whole].reshape(-1, self._stretch))
        self._rest = sound[n_whole:]

    def _add_clipped(self, full: np.ndarray) -> None:
        """Count samples in runs of CLIPPED_RUN or more at full scale, of which one may have begun in the last block."""
        for run in np.split(full, np.flatnonzero(np.diff(full)) + 1) if full.any() else [full]:
            before = self._run
            self._run = before + len(run) if run.all() else 0  # a run is all or nothing; an empty block changes nothing
            if self._run >= CLIPPED_RUN:
                self._n_clipped += self._run if before < CLIPPED_RUN else len(run)

    def _add_stretches(self, stretches: np.ndarray) -> None:
        energy = np.einsum("ij,ij->i", stretches, stretches, dtype=np.float64)
        self._energy += float(energy.sum())
        self._n_stretches += len(stretches)
        self._n_silent += int((energy < stretches.shape[1] * 10 ** (SILENT_DB / 10)).sum())

    def heard(self, header: Header) -> Heard:
        """What was measured; the last stretch may be short."""
        if len(self._rest):
            self._add_stretches(self._rest[None])
            self._rest = self._rest[:0]
        power = self._energy / max(self._n_samples, 1)
        return Heard(
            header.rate_hz,
            header.n_channels,
            header.format,
            self._n_samples / self.rate_hz,
            max(FLOOR_DB, 10 * float(np.log10(power))) if power else FLOOR_DB,
            self._peak,
            self._n_silent / max(self._n_stretches, 1),
            self._n_clipped / max(self._n_samples, 1),
            self._digest.hexdigest() if self._sounds else "",
        )
