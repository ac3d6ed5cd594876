"""White noise through a recipe's features, which the augmentation `noise` adds to spectrograms.

Its power in a band is not exponential, as in a bin of a periodogram: a wide band averages many bins, a narrow one few,
and overlapping windows depend on each other.
"""

from dataclasses import replace

import torch
from torch import Generator, Tensor
from torch.nn import functional

from preprocess.frames import compute_frames
from recipe import Features
from train.augment.gain_noise import db_to_power

NOISE_S, EDGE_S = 30.0, 1.0
"""Seconds of noise, and of what is cut off at both ends, where windows reach beyond it."""


def white_noise_power(features: Features, n_bins: int, generator: Generator) -> Tensor | None:
    """Power float32 [n_frames, n_bins] of NOISE_S of white noise, of mean 1, on the generator's device.

    As for crops, `n_bins` are averaged from those of the features. None for a waveform, which is not in decibels.
    """
    if features.kind == "waveform":
        return None
    n_samples = round((NOISE_S + 2 * EDGE_S) * features.sample_rate_hz)
    sound = torch.randn(n_samples, generator=generator, device=generator.device).cpu().numpy()
    frames = torch.from_numpy(compute_frames(sound, replace(features, top_db=None)))
    n_edge = round(len(frames) * EDGE_S / (NOISE_S + 2 * EDGE_S))
    power = db_to_power(functional.adaptive_avg_pool1d(frames[n_edge : len(frames) - n_edge], n_bins))
    return (power / power.mean()).to(generator.device)
