"""Random crops of many clips at once: drawn starts, short clips filled, one gather.

Positions of crops are int64 [3, ...]: the first frame of each crop's clip in the frame bank, the clip's length, and the
crop's start in the clip, which is below 0 where the crop begins before the clip.
"""

from typing import Literal

import torch
from torch import Generator, Tensor

from core.device import to_device
from recipe import Training
from train.data.frame_bank import FrameBank

ShortClipPadding = Literal["random_tile", "pad", "tile"]


def draw_crops(frame_bank: FrameBank, rows: Tensor, n_frames: int, training: Training, generator: Generator) -> Tensor:
    """Positions [3, *rows.shape], beside the bank's frames, of a crop for each of `rows` (int64, on the host).

    Crops are of the recording, or with `training.variant_probability` of an offline copy where there is one.
    """
    draws = torch.rand((3, *rows.shape), generator=generator, device=generator.device).cpu()
    variants = draw_variants(draws[:2], frame_bank, rows, training.variant_probability)
    lengths = frame_bank.lengths[variants]
    starts = draw_crop_starts(draws[2], lengths, n_frames, training.short_clip_padding)
    return torch.stack([frame_bank.offsets[variants], lengths, starts]).to(frame_bank.frames.device)


def draw_variants(uniform: Tensor, frame_bank: FrameBank, rows: Tensor, probability: float) -> Tensor:
    """The variant of each of `rows` by numbers in [0, 1] [2, *rows.shape]: the recording, or with a probability an
    offline copy where there is one.
    """
    use_draw, variant_draw = uniform
    first = frame_bank.first_variant[rows]
    n_copies = frame_bank.first_variant[rows + 1] - first - 1
    copy = 1 + (variant_draw * n_copies).long().minimum(n_copies - 1)
    return first + torch.where((use_draw < probability) & (n_copies > 0), copy, 0)


def draw_crop_starts(uniform: Tensor, lengths: Tensor, n_frames: int, short_clip_padding: ShortClipPadding) -> Tensor:
    """int64 starts of crops of `n_frames` in clips of `lengths` frames, from numbers in [0, 1].

    A long clip's crop starts uniformly where it fits. A short clip's starts anywhere (random_tile), at its beginning
    (tile), or before it (pad: at 0 or below, so that the clip lies anywhere in the crop).
    """
    surplus = lengths - n_frames
    max_start = {"random_tile": lengths - 1, "pad": -surplus, "tile": torch.zeros_like(lengths)}[short_clip_padding]
    max_start = torch.where(surplus >= 0, surplus, max_start)
    start = (uniform.double() * (max_start + 1)).long().minimum(max_start)
    return torch.where(surplus < 0, -start, start) if short_clip_padding == "pad" else start


def gather_crops(frame_bank: FrameBank, positions: Tensor, n_frames: int, padding: ShortClipPadding) -> Tensor:
    """[n, n_frames, n_bins] crops as stored, beside the bank's frames, by their positions [3, n]."""
    if frame_bank.min_length >= n_frames:
        padding = "tile"  # no crop leaves its clip, so every padding gives the same, and pad is the slowest
    return _take_crops(frame_bank.frames, positions, n_frames, padding, frame_bank.kind)


def pad_short_clip(frames: Tensor, n_frames: int, short_clip_padding: ShortClipPadding, kind: str) -> Tensor:
    """[n_frames, n_bins] from a clip's [n, n_bins], n <= n_frames: filled as in training, the clip at the beginning."""
    positions = to_device(torch.tensor([[0], [len(frames)], [0]]), frames.device)
    return _take_crops(frames, positions, n_frames, short_clip_padding, kind)[0]


def _take_crops(frames: Tensor, positions: Tensor, n_frames: int, padding: ShortClipPadding, kind: str) -> Tensor:
    """Crops in one gather. Outside its clip a crop repeats it, or (pad) is silent: 0 in a waveform, else the crop's
    lowest value."""
    offsets, lengths, starts = positions[:, :, None]
    indices = starts + torch.arange(n_frames, device=frames.device)
    inside = (indices >= 0) & (indices < lengths)
    nearest = indices.clamp(min=0).minimum(lengths - 1) if padding == "pad" else indices % lengths
    crops = frames.index_select(0, (offsets + nearest).flatten()).view(*indices.shape, -1)
    if padding != "pad":
        return crops
    silence = torch.zeros_like(crops[:, :1, :1]) if kind == "waveform" else crops.amin((1, 2), keepdim=True)
    return torch.where(inside[:, :, None], crops, silence)
