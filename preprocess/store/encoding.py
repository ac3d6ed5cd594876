"""How values of frames become stored numbers: float16 as they are, or steps of a scale that the recipe decides."""

import math

import numpy as np

from preprocess.frames.framing import MIN_POWER, Frames
from preprocess.store.schema import EncodedFrames, FrameEncoding
from recipe import Features


def encoding_for(features: Features) -> FrameEncoding:
    """What the frames of a recipe are stored as."""
    scale, offset = 1.0, 0.0
    if features.kind == "waveform":
        return FrameEncoding(
            np.dtype(np.int16), features.n_bins, features.sample_rate_hz / features.n_bins, 1 / 32768, 0.0
        )
    if features.storage == "uint8" and features.kind == "cqt_chroma":
        scale = 1 / 255
    elif features.storage == "uint8":
        offset = 10 * math.log10(MIN_POWER)
        scale = (_highest_db(features) - offset) / 255
    frames_per_second = features.frames_per_second or features.sample_rate_hz / features.hop_length
    return FrameEncoding(np.dtype(features.storage), features.n_bins, frames_per_second, scale, offset)


def _highest_db(features: Features) -> float:
    """What no sound of full scale can pass."""
    if features.kind != "cqt":
        return 20 * math.log10(features.n_fft / 2)  # a square wave under a Hann window, whose sum is n_fft / 2
    # librosa multiplies a filter whose values add up to 1 by the root of its length. The longest is the lowest bin's.
    two_bins = 2 ** (2 / features.bins_per_octave)
    return 10 * math.log10(features.sample_rate_hz / features.fmin_hz * (two_bins + 1) / (two_bins - 1))


def quantise(frames: Frames, encoding: FrameEncoding, floor: float = -math.inf) -> EncodedFrames:
    """Values [n_frames, n_bins], raised to `floor`, as stored numbers; what the type cannot hold is its nearest."""
    if encoding.dtype == np.float16:
        highest = np.finfo(np.float16).max
        return _to_float16(np.clip(frames, max(np.float32(floor), -np.float32(highest)), np.float32(highest)))
    limits = np.iinfo(encoding.dtype)
    steps = np.rint((np.maximum(frames, np.float32(floor)) - np.float32(encoding.offset)) / np.float32(encoding.scale))
    return np.clip(steps, limits.min, limits.max).astype(encoding.dtype)


def _to_float16(values: Frames) -> EncodedFrames:
    """`values.astype(np.float16)` of finite values, to the bit, in three quarters of its time: it goes one by one."""
    bits = np.ascontiguousarray(values).view(np.uint32)
    # Round half to even at the 13th bit, move the exponent's bias from 127 to 15, and put the sign back.
    rounded = bits >> np.uint32(13)
    rounded &= np.uint32(1)
    rounded += bits
    rounded += np.uint32(0xFFF)
    rounded >>= np.uint32(13)
    rounded -= np.uint32(112 << 10)
    halves = rounded.astype(np.uint16)
    halves &= np.uint16(0x7FFF)
    halves |= (bits >> np.uint32(16)).astype(np.uint16) & np.uint16(0x8000)
    stored = halves.view(np.float16)
    tiny = np.abs(values) < np.finfo(np.float16).smallest_normal
    stored[tiny] = values[tiny]
    return stored


def to_float32(stored: EncodedFrames) -> Frames:
    """`stored.astype(np.float32)` of finite numbers, to the bit; of float16 in a third of numpy's time."""
    if stored.dtype != np.float16:
        return stored.astype(np.float32)
    # Sign, exponent and fraction to where float32 has them; the product moves the exponent's bias from 15 to 127.
    bits = np.ascontiguousarray(stored).view(np.int16).astype(np.int32)
    bits <<= 13
    bits &= np.int32(0x0FFFFFFF - (1 << 31))
    values = bits.view(np.float32)
    values *= np.float32(2.0**112)
    return values
