"""Decibels, power and what changes them: gain and added noise."""

import math

import torch
from torch import Generator, Tensor


def db_to_power(decibels: Tensor) -> Tensor:
    """Power of decibels; 0 dB is 1."""
    # Half the time of exp, and in place: at these sizes a CPU spends as long on fresh memory as on arithmetic.
    return (decibels * (math.log2(10) / 10)).exp2_()


def power_to_db(power: Tensor) -> Tensor:
    """Decibels of a power above 0; what underflowed to 0 is taken as the smallest float."""
    return power.clamp(min=torch.finfo(power.dtype).tiny).log10_().mul_(10)


def draw_uniform(low: float, high: float, x: Tensor, generator: Generator) -> Tensor:
    """[batch, 1, 1] uniform numbers, one for each clip of x."""
    uniform = torch.rand((len(x), 1, 1), generator=generator, device=x.device)
    return low + (high - low) * uniform


def random_gain(
    x: Tensor, y: Tensor, generator: Generator, *, range_db: float, decibels: bool = True
) -> tuple[Tensor, Tensor]:
    """Make each clip louder or quieter by up to `range_db`, uniformly in decibels."""
    gain_db = draw_uniform(-range_db, range_db, x, generator)
    return (x + gain_db if decibels else x * db_to_power(gain_db).sqrt()), y


def add_noise(
    x: Tensor, y: Tensor, generator: Generator, *, snr_db: tuple[float, float], decibels: bool = True
) -> tuple[Tensor, Tensor]:
    """Add white noise whose power is the clip's mean power less a ratio drawn from `snr_db` (low, high).

    A spectrogram gets in every cell a power drawn from the exponential distribution, as white noise has in a
    periodogram; a waveform gets Gaussian samples.
    """
    ratio = db_to_power(-draw_uniform(*snr_db, x, generator))
    if decibels:
        power = db_to_power(x)
        level = ratio * power.mean((1, 2), keepdim=True)
        # The exponential distribution by its inverse: a quarter of the time of exponential_ on a CPU.
        noise = torch.rand(x.shape, generator=generator, device=x.device).neg_().log1p_()
        return power_to_db(power.addcmul_(noise, level, value=-1)), y
    noise = torch.randn(x.shape, generator=generator, device=x.device)
    return noise.mul_((ratio * x.square().mean((1, 2), keepdim=True)).sqrt()).add_(x), y
