"""Parts of a crop hidden or moved: masks over time and over bins, and the roll in time."""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.augment.warp import gather_frames

MaskFill = Literal["mean", "floor", "zero"]


def mask_time(
    x: Tensor, y: Tensor, generator: Generator, *, max_masks: int, max_share: float, fill: MaskFill
) -> tuple[Tensor, Tensor]:
    """Hide 1 to `max_masks` spans of frames in each clip, each of a length drawn up to `max_share` of the crop.

    Park et al., "SpecAugment", 2019. One span with the floor is a blank of silence.
    """
    mask = _draw_spans(x, x.shape[1], max_masks, max_share, generator)
    return _fill_masked(x, mask[:, :, None], fill), y


def mask_frequency(
    x: Tensor, y: Tensor, generator: Generator, *, max_masks: int, max_share: float, fill: MaskFill
) -> tuple[Tensor, Tensor]:
    """Hide 1 to `max_masks` spans of bins in each clip, each of a width drawn up to `max_share` of the bins."""
    mask = _draw_spans(x, x.shape[2], max_masks, max_share, generator)
    return _fill_masked(x, mask[:, None, :], fill), y


def roll_time(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Turn each crop round in time by any number of frames."""
    n_frames = x.shape[1]
    shift = torch.randint(n_frames, (len(x), 1), generator=generator, device=x.device)
    return gather_frames(x, (torch.arange(n_frames, device=x.device) - shift) % n_frames), y


def _draw_spans(x: Tensor, length: int, max_masks: int, max_share: float, generator: Generator) -> Tensor:
    """bool [batch, length]: inside 1 to `max_masks` spans, each of 0 to `max_share` * length, anywhere they fit."""
    number, width, start = torch.rand((3, len(x), max_masks), generator=generator, device=x.device)
    widths = (width * (int(max_share * length) + 1)).floor()
    starts = (start * (length - widths + 1)).floor()
    is_active = torch.arange(max_masks, device=x.device) <= (number[:, :1] * max_masks).floor()
    position = torch.arange(length, device=x.device)[:, None]
    inside = (position >= starts[:, None]) & (position < (starts + widths)[:, None]) & is_active[:, None]
    return inside.any(2)


def _fill_masked(x: Tensor, mask: Tensor, fill: MaskFill) -> Tensor:
    """x with each crop's own mean, its lowest value, or 0 where it is hidden."""
    if fill == "zero":
        value = x.new_zeros(1, 1, 1)
    else:
        value = x.mean((1, 2), keepdim=True) if fill == "mean" else x.amin((1, 2), keepdim=True)
    # lerp by 0 or 1 is exact, and on a CPU takes a fifth of the time of where.
    return torch.lerp(x, value, mask.float())
