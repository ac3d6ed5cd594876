"""Decibels, power and what changes them: gain and added noise."""

import math

import torch
from torch import Generator, Tensor


def db_to_power(decibels: Tensor) -> Tensor:
    """Power of decibels; 0 dB is 1."""
    return (decibels * (math.log2(10) / 10)).exp2_()  # half the time of exp


def power_to_db(power: Tensor) -> Tensor:
    """Decibels of a power; a power of 0 counts as the smallest float."""
    return power.clamp(min=torch.finfo(power.dtype).tiny).log10_().mul_(10)


def draw_uniform(low: float, high: float, x: Tensor, generator: Generator) -> Tensor:
    """[batch, 1, 1] uniform numbers, one for each clip of x."""
    return low + (high - low) * torch.rand((len(x), 1, 1), generator=generator, device=x.device)


def random_gain(x: Tensor, y: Tensor, generator: Generator, *, max_db: float, decibels: bool) -> tuple[Tensor, Tensor]:
    """Make each clip louder or quieter by up to `max_db`, uniformly in decibels."""
    gain_db = draw_uniform(-max_db, max_db, x, generator)
    return (x + gain_db if decibels else x * db_to_power(gain_db).sqrt()), y


def add_noise(
    x: Tensor, y: Tensor, generator: Generator, *, snr_db: tuple[float, float], noise_power: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Add white noise whose power is the clip's mean power less a ratio drawn from `snr_db` (low, high).

    A spectrogram gets a span, from a random frame on, of `noise_power` [n_noise_frames, n_bins]: white noise through
    the same features, of mean 1. Without it x holds samples, which get Gaussian ones.
    """
    ratio = db_to_power(-draw_uniform(*snr_db, x, generator))
    if noise_power is None:
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        return noise.mul_((ratio * x.square().mean((1, 2), keepdim=True)).sqrt()).add_(x), y
    power = db_to_power(x)
    level = ratio * power.mean((1, 2), keepdim=True)
    start = torch.randint(len(noise_power), (len(x), 1), generator=generator, device=x.device)
    frames = (start + torch.arange(x.shape[1], device=x.device)) % len(noise_power)
    noise = noise_power.index_select(0, frames.flatten()).view_as(x)
    return power_to_db(power.addcmul_(noise, level)), y
