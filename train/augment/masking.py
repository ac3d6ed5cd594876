"""Parts of a crop hidden or moved: masks over time and over bins, the roll in time, time backwards."""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.augment.warp import gather_frames

MaskFill = Literal["mean", "floor", "zero"]


def mask_spans(
    x: Tensor, y: Tensor, generator: Generator, *, axis: Literal[1, 2], max_masks: int, max_share: float, fill: MaskFill
) -> tuple[Tensor, Tensor]:
    """Hide 1 to `max_masks` spans of frames (axis 1) or bins (axis 2) in each clip, each up to `max_share` of the crop.

    Hidden values become the crop's mean, its lowest value, or 0. Park et al., "SpecAugment", 2019.
    """
    length = x.shape[axis]
    number, width, start = torch.rand((3, len(x), max_masks), generator=generator, device=x.device)
    widths = (width * (int(max_share * length) + 1)).floor()
    starts = (start * (length - widths + 1)).floor()
    is_active = torch.arange(max_masks, device=x.device) <= (number[:, :1] * max_masks).floor()
    position = torch.arange(length, device=x.device)[:, None]
    inside = (position >= starts[:, None]) & (position < (starts + widths)[:, None]) & is_active[:, None]
    mask = inside.any(2).unsqueeze(3 - axis)
    if fill == "zero":
        value = x.new_zeros(1, 1, 1)
    else:
        value = x.mean((1, 2), keepdim=True) if fill == "mean" else x.amin((1, 2), keepdim=True)
    return torch.lerp(x, value, mask.float()), y  # lerp by 0 or 1 is exact, and on a CPU faster than where


def roll_time(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Roll each crop in time by any number of frames."""
    n_frames = x.shape[1]
    shift = torch.randint(n_frames, (len(x), 1), generator=generator, device=x.device)
    return gather_frames(x, (torch.arange(n_frames, device=x.device) - shift) % n_frames), y


def flip_time(x: Tensor, y: Tensor, generator: Generator, *, decibels: bool) -> tuple[Tensor, Tensor]:
    """Play each crop backwards: its frames in reverse, and where these hold samples, not decibels, the samples too."""
    return x.flip(1 if decibels else (1, 2)), y
