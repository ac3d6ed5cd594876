"""How values of frames become stored numbers: float16 as they are, or steps of a scale that the recipe decides."""

import math

import numpy as np

from preprocess.frames import FAINTEST, Frames
from preprocess.store import Coding, Stored
from recipe import Features


def coding_of(features: Features) -> Coding:
    """What the frames of a recipe are stored as."""
    dtype = np.dtype(features.storage)
    scale, offset = 1.0, 0.0
    if dtype == np.uint8:
        # From silence to a square wave of full scale under a Hann window, whose sum is n_fft / 2.
        offset, highest = 10 * math.log10(FAINTEST), 20 * math.log10(features.n_fft / 2)
        scale = (highest - offset) / 255
    return Coding(dtype, features.n_bins, features.rate_hz / features.hop_samples, scale, offset)


def encode(frames: Frames, coding: Coding) -> Stored:
    """Values [n_frames, n_bins] as stored numbers; what the type cannot hold becomes its nearest number."""
    if coding.dtype.kind == "f":
        highest = np.finfo(coding.dtype).max
        return np.clip(frames, -highest, highest).astype(coding.dtype)
    limits = np.iinfo(coding.dtype)
    steps = np.rint((frames - np.float32(coding.offset)) / np.float32(coding.scale))
    return np.clip(steps, limits.min, limits.max).astype(coding.dtype)
