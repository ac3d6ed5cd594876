"""How values of frames become stored numbers: float16 as they are, or steps of a scale that the recipe decides."""

import math
import sys

import numpy as np
import numpy.typing as npt

from preprocess.store import Coding, Stored
from recipe import Features

Frames = npt.NDArray[np.float32]
"""Values [n_frames, n_bins]."""

FAINTEST = 1e-10
"""The least power, -100 dB, as in librosa.power_to_db."""


CACHED_VALUES = 1 << 15
"""Handled at once, so that they stay in a core's own cache; of fewer, numpy's calls cost more than they save."""
_UPPER = int(sys.byteorder == "little")
"""Which half of a 32-bit number is the upper one."""


def coding_of(features: Features) -> Coding:
    """What the frames of a recipe are stored as."""
    scale, offset = 1.0, 0.0
    if features.kind == "waveform":
        return Coding(np.dtype(np.int16), features.n_bins, features.rate_hz / features.n_bins, 1 / 32768, 0.0)
    if features.storage == "uint8" and features.kind == "cqt_chroma":
        scale = 1 / 255
    elif features.storage == "uint8":
        # From silence to a square wave of full scale under a Hann window, whose sum is n_fft / 2.
        offset, highest_db = 10 * math.log10(FAINTEST), 20 * math.log10(features.n_fft / 2)
        scale = (highest_db - offset) / 255
    frames_per_second = features.frames_per_second or features.rate_hz / features.hop_samples
    return Coding(np.dtype(features.storage), features.n_bins, frames_per_second, scale, offset)


def encode(frames: Frames, coding: Coding, floor: float = -math.inf) -> Stored:
    """Values [n_frames, n_bins], raised to `floor`, as stored numbers; what the type cannot hold is its nearest."""
    if coding.dtype == np.float16:
        highest = float(np.finfo(np.float16).max)
        return _to_float16(frames, max(floor, -highest), highest)
    limits = np.iinfo(coding.dtype)
    steps = np.rint((np.maximum(frames, np.float32(floor)) - np.float32(coding.offset)) / np.float32(coding.scale))
    return np.clip(steps, limits.min, limits.max).astype(coding.dtype)


def _to_float16(values: Frames, low: float, high: float) -> Stored:
    """`values.clip(low, high).astype(np.float16)`, to the bit, in half its time: numpy converts one by one."""
    flat = np.ascontiguousarray(values).reshape(-1)
    halves = np.empty(len(flat), np.uint16)
    n_cached = min(CACHED_VALUES, len(flat))
    clipped, shifted = np.empty(n_cached, np.float32), np.empty(n_cached, np.uint32)
    for start in range(0, len(flat), CACHED_VALUES):
        some = halves[start : start + CACHED_VALUES]
        clip, bits = clipped[: len(some)], shifted[: len(some)]
        np.clip(flat[start : start + len(some)], np.float32(low), np.float32(high), out=clip)
        # Round half to even at the 13th bit, and move the exponent's bias from 127 to 14: of normal numbers it is not
        # below zero there. One more, and the sign, go back in 16 bits, which are half as many bytes.
        whole = clip.view(np.uint32)
        np.right_shift(whole, np.uint32(13), out=bits)
        bits &= np.uint32(1)
        bits += np.uint32((0xFFF - (113 << 23)) % (1 << 32))
        bits += whole
        bits >>= np.uint32(13)
        some[:] = bits
        some += np.uint16(1 << 10)
        some &= np.uint16(0x7FFF)
        some |= clip.view(np.uint16)[_UPPER::2] & np.uint16(0x8000)
        if np.bitwise_or.reduce(bits) & np.uint32(0b111 << 15):  # an exponent fell below zero
            tiny = np.abs(clip) < np.finfo(np.float16).smallest_normal
            some.view(np.float16)[tiny] = clip[tiny]
    return halves.view(np.float16).reshape(values.shape)


def as_float32(stored: Stored) -> Frames:
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


def decode_frames(stored: Stored, coding: Coding) -> Frames:
    """Stored numbers [n_frames, n_bins] as values."""
    return as_float32(stored) * np.float32(coding.scale) + np.float32(coding.offset)
