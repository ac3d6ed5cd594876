"""The beginning of a recording for a page, read in a sandbox: frames for its picture, and sound for its player."""

from dataclasses import dataclass
from io import BytesIO

import numpy as np
import soundfile

from preprocess.audio.clip_audio import take_samples
from preprocess.audio.decode import decode_blocks
from preprocess.frames import compute_frames
from preprocess.frames.framing import Frames
from recipe import Features

AUDIO_S = 10.0
"""Seconds of a recording that its player has."""
PICTURE_S = 60.0
"""Seconds of a recording of no dataset that its picture shows."""
MP3_RATE_HZ = 32_000
"""The highest of the rates that MP3 codes at half the size of 48 kHz."""
MAX_PEAK = 0.99


@dataclass(frozen=True)
class Preview:
    """What a page shows of a recording."""

    mp3: bytes
    """Its beginning, in a format that every browser plays."""
    frames: Frames | None = None
    """The first PICTURE_S as networks get them, [n_frames, n_bins]."""
    duration_s: float | None = None
    """Length of the recording; None where it was not read to its end."""


def read_preview(path: str, features: Features, audio_s: float = AUDIO_S, *, has_frames: bool = True) -> Preview:
    """The preview of a recording, of `features.channel`. Raises DecodeError."""
    mp3 = encode_mp3(read_beginning(path, MP3_RATE_HZ, audio_s, features.channel))
    if not has_frames:
        return Preview(mp3)
    samples = read_beginning(path, features.sample_rate_hz, PICTURE_S, features.channel)
    is_whole = len(samples) < round(PICTURE_S * features.sample_rate_hz)
    return Preview(mp3, compute_frames(samples, features), len(samples) / features.sample_rate_hz if is_whole else None)


def read_beginning(path: str, sample_rate_hz: int, max_s: float, channel: str | int) -> np.ndarray:
    """The first `max_s` seconds of a recording, float32 [n_samples]."""
    blocks = decode_blocks(path, sample_rate_hz, channel)
    return np.concatenate(list(take_samples(blocks, round(max_s * sample_rate_hz))))


def encode_mp3(samples: np.ndarray) -> bytes:
    """A sound float32 [n_samples] at MP3_RATE_HZ, less loud where it would clip."""
    data = BytesIO()
    peak = float(np.abs(samples).max(initial=0))
    soundfile.write(data, samples * (MAX_PEAK / peak if peak > MAX_PEAK else 1), MP3_RATE_HZ, format="MP3")
    return data.getvalue()
