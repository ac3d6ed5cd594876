"""One recording measured: format, length, level, silence, clipping, and a digest of its samples."""

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from io import FileIO
from pathlib import Path

import numpy as np
import soundfile

from preprocess.audio.blocks import InvalidAudio
from preprocess.audio.decode import MAX_SAMPLE_RATE_HZ, MIN_SAMPLE_RATE_HZ, decode_blocks
from preprocess.audio.wav_header import read_wav_layout
from preprocess.frames.framing import Samples

SILENCE_THRESHOLD_DB = -60.0
"""Level against full scale below which a frame is silent."""
FRAME_S = 0.05
CLIPPING_LEVEL = 0.999
MIN_CLIPPED_RUN = 3
"""Consecutive samples at full scale that count as clipped; fewer may be a peak that just fits."""
FLOOR_DB = -120.0


@dataclass(frozen=True)
class Header:
    """What a file states about itself."""

    sample_rate_hz: int
    n_channels: int
    format: str


@dataclass(frozen=True)
class AudioStats(Header):
    """Measures of a recording, of one channel, at its own rate."""

    duration_s: float
    rms_db: float
    peak: float
    silent_share: float
    """Share of frames of FRAME_S."""
    clipped_share: float
    """Share of samples."""
    digest: str
    """Digest of the rate and the samples in 16 bits, equal in all lossless formats; '' if all samples are 0."""
    warning: str = ""
    """What could not be read."""


def measure_recording(path: str, channel: str | int = "mean") -> AudioStats:
    """Measure one recording, of features.channel, in bounded memory. Raises DecodeError."""
    meter, warnings = AudioMeter(read_header(path)), list[str]()
    for block in decode_blocks(path, meter.header.sample_rate_hz, channel, warnings):
        meter.add(block)
    return replace(meter.stats(), warning="; ".join(warnings))


def read_header(path: str) -> Header:
    """Rate, channels and format as the file states them; defaults if they are unknown."""
    unknown_header = Header(44_100, 1, "unknown")
    if not Path(path).is_file():
        return unknown_header  # the decoder raises the error
    try:
        with FileIO(path) as file:
            layout = read_wav_layout(file)
        if layout and not layout.is_regular:
            header = Header(layout.sample_rate_hz, layout.n_channels, f"WAV {layout.valid_bits} bits")
        else:
            info = soundfile.info(path)
            header = Header(info.samplerate, info.channels, f"{info.format} {info.subtype}")
    except (OSError, InvalidAudio):
        return unknown_header  # the decoder raises the error
    except soundfile.SoundFileError:
        # The import of PyAV takes 0.1 s, and most datasets do not need it.
        from preprocess.audio.decode_ffmpeg import read_ffmpeg_header

        stated = read_ffmpeg_header(path)
        header = Header(*stated) if stated else unknown_header
    return header if MIN_SAMPLE_RATE_HZ <= header.sample_rate_hz <= MAX_SAMPLE_RATE_HZ else unknown_header


class AudioMeter:
    """Measures samples that come in blocks of any size, independently of the blocks' borders."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._frame_length = max(1, round(FRAME_S * header.sample_rate_hz))
        self._n_samples = self._n_clipped = self._n_frames = self._n_silent = self._run_length = 0
        self._energy = self._peak = 0.0
        self._digest, self._any_nonzero = blake2b(f"{header.sample_rate_hz} Hz".encode(), digest_size=16), False
        self._rest = np.zeros(0, np.float32)

    def add(self, block: Samples) -> None:
        """Measure the next samples."""
        self._n_samples += len(block)
        self._peak = max(self._peak, float(np.abs(block).max(initial=0)))
        rounded = (np.clip(block, -1, 1) * 32767).round().astype("<i2")
        self._digest.update(rounded.tobytes())
        self._any_nonzero = self._any_nonzero or bool(rounded.any())
        self._add_clipped(np.abs(block) >= CLIPPING_LEVEL)
        samples = np.concatenate([self._rest, block])
        n_whole = len(samples) // self._frame_length * self._frame_length
        self._add_frames(samples[:n_whole].reshape(-1, self._frame_length))
        self._rest = samples[n_whole:]

    def _add_clipped(self, full: np.ndarray) -> None:
        """Count samples in runs of MIN_CLIPPED_RUN or more at full scale; a run may continue the last block's."""
        full = np.concatenate([[False, *[True] * self._run_length], full, [False]])
        starts, ends = np.flatnonzero(full[1:] != full[:-1]).reshape(-1, 2).T
        lengths = ends - starts
        counted = self._run_length if self._run_length == MIN_CLIPPED_RUN else 0  # in the last block
        self._n_clipped += int(lengths[lengths >= MIN_CLIPPED_RUN].sum()) - counted
        self._run_length = min(int(lengths[-1]), MIN_CLIPPED_RUN) if full[-2] else 0  # a longer run is counted alike

    def _add_frames(self, frames: np.ndarray) -> None:
        energy = np.einsum("ij,ij->i", frames, frames, dtype=np.float64)
        self._energy += float(energy.sum())
        self._n_frames += len(frames)
        self._n_silent += int((energy < frames.shape[1] * 10 ** (SILENCE_THRESHOLD_DB / 10)).sum())

    def stats(self) -> AudioStats:
        """The measures of all samples; the last frame may be short. Call it once."""
        if len(self._rest):
            self._add_frames(self._rest[None])
        power = self._energy / max(self._n_samples, 1)
        return AudioStats(
            **asdict(self.header),
            duration_s=self._n_samples / self.header.sample_rate_hz,
            rms_db=max(FLOOR_DB, 10 * float(np.log10(power))) if power else FLOOR_DB,
            peak=self._peak,
            silent_share=self._n_silent / max(self._n_frames, 1),
            clipped_share=self._n_clipped / max(self._n_samples, 1),
            digest=self._digest.hexdigest() if self._any_nonzero else "",
        )
