"""Random crops of many clips at once: drawn starts, short clips filled, one gather."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from train.data.frame_bank import FrameBank

ShortClipPadding = Literal["random_tile", "pad", "tile"]


@dataclass(frozen=True)
class CropPositions:
    """Where crops are, int64 of one shape: [n], or [n_steps, n] of which each step is one of these."""

    offsets: Tensor
    """First frames of their clips in the frame bank."""
    lengths: Tensor
    """Frames of their clips."""
    starts: Tensor
    """Their first frames in their clips; below 0 where a short clip begins after its crop does."""

    def __getitem__(self, step: int) -> "CropPositions":
        return CropPositions(self.offsets[step], self.lengths[step], self.starts[step])


def draw_crops(
    frame_bank: FrameBank,
    rows: Tensor,
    generator: Generator,
    *,
    n_frames: int,
    short_clip_padding: ShortClipPadding,
    variant_probability: float,
) -> CropPositions:
    """A crop of `n_frames` for each of `rows` (int64 of any shape, on the host), beside the bank's frames.

    It is of the recording, or with `variant_probability` of one of its offline copies if there are any.
    """
    draws = torch.rand((3, *rows.shape), generator=generator, device=generator.device).cpu()
    use_draw, variant_draw, start_draw = draws
    first = frame_bank.first_variant[rows]
    n_offline_variants = frame_bank.first_variant[rows + 1] - first - 1
    offline_variant = 1 + (variant_draw * n_offline_variants).long().minimum(n_offline_variants - 1)
    variants = first + torch.where((use_draw < variant_probability) & (n_offline_variants > 0), offline_variant, 0)
    lengths = frame_bank.lengths[variants]
    starts = draw_crop_starts(start_draw, lengths, n_frames, short_clip_padding)
    frames_device = frame_bank.frames.device
    return CropPositions(
        frame_bank.offsets[variants].to(frames_device), lengths.to(frames_device), starts.to(frames_device)
    )


def draw_crop_starts(uniform: Tensor, lengths: Tensor, n_frames: int, short_clip_padding: ShortClipPadding) -> Tensor:
    """int64 starts of crops of `n_frames` in clips of `lengths` frames, from numbers in [0, 1].

    A long clip's crop starts uniformly where it fits. A short clip's starts anywhere (random_tile), at its beginning
    (tile), or before it (pad: at 0 or below, so that the clip lies anywhere in the crop).
    """
    surplus = lengths - n_frames
    short_clip_range = {"random_tile": lengths - 1, "pad": -surplus, "tile": torch.zeros_like(lengths)}[
        short_clip_padding
    ]
    max_start = torch.where(surplus >= 0, surplus, short_clip_range)
    start = (uniform.double() * (max_start + 1)).long().minimum(max_start)
    return torch.where(surplus < 0, -start, start) if short_clip_padding == "pad" else start


def gather_crops(
    frame_bank: FrameBank, crops: CropPositions, n_frames: int, short_clip_padding: ShortClipPadding
) -> Tensor:
    """[n, n_frames, n_bins] crops as stored, beside the bank's frames, in one gather."""
    frame_indices, inside = _frame_indices(crops.starts, crops.lengths, n_frames, short_clip_padding)
    index = (frame_indices + crops.offsets[:, None]).flatten()
    gathered = frame_bank.frames.index_select(0, index).view(*frame_indices.shape, frame_bank.n_bins)
    if short_clip_padding == "pad" and frame_bank.min_length < n_frames:
        return _fill_with_silence(gathered, inside, frame_bank.kind)
    return gathered


def pad_short_clip(frames: Tensor, n_frames: int, short_clip_padding: ShortClipPadding, kind: str) -> Tensor:
    """[n_frames, n_bins] from a clip's [n, n_bins], n <= n_frames: filled as in training, the clip at the beginning."""
    start, length = frames.new_zeros(1, dtype=torch.int64), frames.new_full((1,), len(frames), dtype=torch.int64)
    frame_indices, inside = _frame_indices(start, length, n_frames, short_clip_padding)
    filled = frames[frame_indices]
    return _fill_with_silence(filled, inside, kind)[0] if short_clip_padding == "pad" else filled[0]


def _frame_indices(
    starts: Tensor, lengths: Tensor, n_frames: int, short_clip_padding: ShortClipPadding
) -> tuple[Tensor, Tensor]:
    """Which frames of its clip each crop takes, and where the clip itself is: int64 and bool [n, n_frames].

    Outside the clip it is run round (random_tile, tile), or its nearest frame is taken, for the caller to silence
    (pad).
    """
    frame_indices = starts[:, None] + torch.arange(n_frames, device=starts.device)
    inside = (frame_indices >= 0) & (frame_indices < lengths[:, None])
    if short_clip_padding == "pad":
        return frame_indices.clamp(min=0).minimum(lengths[:, None] - 1), inside
    return frame_indices % lengths[:, None], inside


def _fill_with_silence(crops: Tensor, inside: Tensor, kind: str) -> Tensor:
    """Silence where `inside` is false: 0 in a waveform, else the crop's lowest value (it holds all of a short clip)."""
    floor = torch.zeros_like(crops[:, :1, :1]) if kind == "waveform" else crops.amin((1, 2), keepdim=True)
    return torch.where(inside[:, :, None], crops, floor)
