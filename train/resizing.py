"""Crops stretched and shifted: resized crop, roll along log-frequency bins, fewer bins."""

import torch
from torch import Generator, Tensor
from torch.nn import functional

from train.levels import draw_between


def resized_crop(x: Tensor, y: Tensor, generator: Generator, *, min_scale: float) -> tuple[Tensor, Tensor]:
    """Stretch a part of each crop to all of it, linearly; it keeps `min_scale` to 1 of the frames and of the bins.

    The two shares are drawn apart: time and pitch are stretched by different factors.
    """
    return _stretch(_stretch(x, min_scale, generator, dim=1), min_scale, generator, dim=2), y


def roll_pitch(x: Tensor, y: Tensor, generator: Generator, *, max_bins: int) -> tuple[Tensor, Tensor]:
    """Move each crop up or down by up to `max_bins` whole bins; the outermost bin fills what is left behind.

    On bins evenly spaced in log-frequency this shifts the pitch.
    """
    n_bins = x.shape[2]
    shift = torch.randint(-max_bins, max_bins + 1, (len(x), 1), generator=generator, device=x.device)
    source = (torch.arange(n_bins, device=x.device) - shift).clamp(0, n_bins - 1)
    return x.gather(2, source[:, None, :].expand_as(x)), y


def fewer_bins(x: Tensor, n_bins: int) -> Tensor:
    """[batch, n_frames, n_bins]: bins averaged in neighbouring groups, for the small sizes of early epochs."""
    return functional.adaptive_avg_pool1d(x, n_bins)


def _stretch(x: Tensor, min_scale: float, generator: Generator, *, dim: int) -> Tensor:
    """Linear interpolation of a random part of axis `dim` (1 or 2) onto the whole axis, a part for each clip."""
    length = x.shape[dim]
    scale = draw_between(min_scale, 1, x, generator)
    first = draw_between(0, 1, x, generator) * (1 - scale) * (length - 1)
    at = first + scale * torch.arange(length, device=x.device).view(1, -1, 1)
    low = at.floor().long().clamp(max=max(length - 2, 0))
    weight = at - low
    if dim == 2:
        low, weight = low.transpose(1, 2), weight.transpose(1, 2)
    high = (low + 1).clamp(max=length - 1)
    return torch.lerp(x.gather(dim, low.expand_as(x)), x.gather(dim, high.expand_as(x)), weight)
