"""Decibels, power and what changes them: gain, contrast, gains over bands, added noise."""

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


def random_contrast(x: Tensor, y: Tensor, generator: Generator, *, max_slope: float) -> tuple[Tensor, Tensor]:
    """Stretch or squeeze the decibels of each clip about their mean: by 1 / `max_slope` to `max_slope`, even in log."""
    slope = max_slope ** draw_uniform(-1, 1, x, generator)
    return torch.lerp(x.mean((1, 2), keepdim=True), x, slope), y


def filter_bands(x: Tensor, y: Tensor, generator: Generator, *, max_bands: int, max_db: float) -> tuple[Tensor, Tensor]:
    """Add to each clip's decibels a gain over bins: a line through points of up to `max_db`, uniformly drawn.

    2 to `max_bands` bands lie between the points; their edges are drawn uniformly. The linear FilterAugment of Nam, Kim
    and Park, "FilterAugment: an acoustic environmental data augmentation method", 2022.
    """
    n_clips, last_bin, device = len(x), x.shape[2] - 1, x.device
    edges, number, gains = torch.rand((3, n_clips, max_bands + 1), generator=generator, device=device)
    n_bands = 2 + (number[:, :1] * (max_bands - 1)).floor()
    position = torch.arange(max_bands + 1, device=device)
    inner = (position > 0) & (position < n_bands)
    edges = torch.where(inner, edges, (position > 0).float()).sort(1).values * last_bin
    bins = torch.arange(x.shape[2], device=device, dtype=x.dtype).expand(n_clips, -1).contiguous()
    above = torch.searchsorted(edges.contiguous(), bins).clamp(1, max_bands)
    low, high = edges.gather(1, above - 1), edges.gather(1, above)
    gain_db = (2 * gains - 1) * max_db
    weight = ((bins - low) / (high - low).clamp(min=1e-6)).clamp(0, 1)
    return x + torch.lerp(gain_db.gather(1, above - 1), gain_db.gather(1, above), weight)[:, None], y


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
