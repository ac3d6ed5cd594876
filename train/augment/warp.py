"""Crops stretched and shifted: resized crop, and roll along log-frequency bins."""

import torch
from torch import Generator, Tensor

from train.augment.gain_noise import draw_uniform


def resized_crop(x: Tensor, y: Tensor, generator: Generator, *, min_scale: float) -> tuple[Tensor, Tensor]:
    """Stretch a part of each crop to all of it: `min_scale` to 1 of the frames and, drawn separately, of the bins."""
    low, high, weight = _draw_points(x, x.shape[1], min_scale, generator)
    x = torch.lerp(gather_frames(x, low), gather_frames(x, high), weight[:, :, None])
    low, high, weight = _draw_points(x, x.shape[2], min_scale, generator)
    return torch.lerp(gather_bins(x, low), gather_bins(x, high), weight[:, None, :]), y


def roll_pitch(x: Tensor, y: Tensor, generator: Generator, *, max_bins: int, circular: bool) -> tuple[Tensor, Tensor]:
    """Move each crop by up to `max_bins` bins; the outermost bin, or where `circular` the other end, fills the gap."""
    n_bins = x.shape[2]
    shift = torch.randint(-max_bins, max_bins + 1, (len(x), 1), generator=generator, device=x.device)
    source = torch.arange(n_bins, device=x.device) - shift
    return gather_bins(x, source % n_bins if circular else source.clamp(0, n_bins - 1)), y


def gather_frames(x: Tensor, frames: Tensor) -> Tensor:
    """[batch, n, n_bins]: of each crop its own frames [batch, n], in that order."""
    first = x.shape[1] * torch.arange(len(x), device=x.device)
    rows = (first[:, None] + frames).flatten()
    return x.reshape(-1, x.shape[2]).index_select(0, rows).view(*frames.shape, -1)  # on a CPU faster than gather


def gather_bins(x: Tensor, bins: Tensor) -> Tensor:
    """[batch, n_frames, n]: of each crop its own bins [batch, n], in that order."""
    return x.gather(2, bins[:, None, :].expand(-1, x.shape[1], -1))


def _draw_points(x: Tensor, length: int, min_scale: float, generator: Generator) -> tuple[Tensor, Tensor, Tensor]:
    """[batch, length] points evenly spread over a random part of an axis: indices below and above, weight of above."""
    scale = draw_uniform(min_scale, 1, x, generator)[:, 0]
    first = draw_uniform(0, 1, x, generator)[:, 0] * (1 - scale) * (length - 1)
    position = (first + scale * torch.arange(length, device=x.device)).clamp(max=length - 1)
    low = position.long()
    return low, (low + 1).clamp(max=length - 1), position - low
