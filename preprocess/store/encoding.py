"""The encoding of stored frames: values in float16, or whole steps of a scale that depends on the recipe."""

import math

import numpy as np

from preprocess.frames.framing import MIN_POWER, Frames
from preprocess.store.schema import EncodedFrames, FrameEncoding
from recipe import Features


def encoding_for(features: Features) -> FrameEncoding:
    """The encoding of a recipe's frames."""
    frames_per_second = features.frames_per_second or features.sample_rate_hz / features.hop_length
    scale, offset = 1.0, 0.0
    if features.kind == "waveform":
        frames_per_second, scale = features.sample_rate_hz / features.n_bins, 1 / 32768
    elif features.storage == "uint8" and features.kind == "cqt_chroma":
        scale = 1 / 255
    elif features.storage == "uint8":
        offset = 10 * math.log10(MIN_POWER)
        scale = (_highest_db(features) - offset) / 255
    return FrameEncoding(np.dtype(features.storage), features.n_bins, frames_per_second, scale, offset)


def _highest_db(features: Features) -> float:
    """A level in dB that no sound of full scale exceeds."""
    if features.kind != "cqt":
        return 20 * math.log10(features.n_fft / 2)  # a square wave under a Hann window, whose sum is n_fft / 2
    # librosa multiplies a filter whose values add up to 1 by the root of its length. The longest is the lowest bin's.
    two_bins = 2 ** (2 / features.bins_per_octave)
    return 10 * math.log10(features.sample_rate_hz / features.fmin_hz * (two_bins + 1) / (two_bins - 1))


def count_frame_bytes(n_frames: int, features: Features) -> int:
    """Bytes of so many frames."""
    encoding = encoding_for(features)
    return n_frames * encoding.n_bins * encoding.dtype.itemsize


def quantise(frames: Frames, encoding: FrameEncoding) -> EncodedFrames:
    """Values [n_frames, n_bins] → stored numbers, clipped to the range of their type."""
    if encoding.dtype == np.float16:
        highest = float(np.finfo(np.float16).max)
        return np.clip(frames, -highest, highest).astype(np.float16)
    limits = np.iinfo(encoding.dtype)
    steps = np.rint((frames - np.float32(encoding.offset)) / np.float32(encoding.scale))
    return np.clip(steps, limits.min, limits.max).astype(encoding.dtype)
