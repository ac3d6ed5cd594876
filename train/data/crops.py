"""Random crops of many clips at once: drawn starts, short clips filled, one gather."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Generator, Tensor

from train.data.frame_bank import Memory

ShortClips = Literal["wrap", "floor", "repeat"]


@dataclass(frozen=True)
class Crops:
    """Where crops are, int64 of one shape: [n], or [n_steps, n] of which each step is one of these."""

    offsets: Tensor
    """First frames of their clips in the memory."""
    lengths: Tensor
    """Frames of their clips."""
    starts: Tensor
    """Their first frames in their clips; below 0 where a short clip begins after its crop does."""

    def __getitem__(self, step: int) -> "Crops":
        return Crops(self.offsets[step], self.lengths[step], self.starts[step])


def draw_crops(
    memory: Memory,
    rows: Tensor,
    generator: Generator,
    *,
    n_frames: int,
    short_clips: ShortClips,
    variant_probability: float,
) -> Crops:
    """A crop of `n_frames` for each of `rows` (int64 of any shape, on the host), beside the memory's frames.

    It is of the recording, or with `variant_probability` of one of its offline copies if there are any.
    """
    chance, which, place = torch.rand((3, *rows.shape), generator=generator, device=generator.device).cpu()
    first = memory.first_entry[rows]
    n_copies = memory.first_entry[rows + 1] - first - 1
    copy = 1 + (which * n_copies).long().minimum(n_copies - 1)
    entries = first + torch.where((chance < variant_probability) & (n_copies > 0), copy, 0)
    lengths = memory.lengths[entries]
    starts = crop_starts(place, lengths, n_frames, short_clips)
    beside = memory.frames.device
    return Crops(memory.offsets[entries].to(beside), lengths.to(beside), starts.to(beside))


def crop_starts(uniform: Tensor, lengths: Tensor, n_frames: int, short_clips: ShortClips) -> Tensor:
    """int64 starts of crops of `n_frames` in clips of `lengths` frames, from numbers in [0, 1].

    A long clip's crop starts uniformly where it fits. A short clip's starts anywhere (wrap), at its beginning (repeat),
    or before it (floor: at 0 or below, so that the clip lies anywhere in the crop).
    """
    room = lengths - n_frames
    slack = {"wrap": lengths - 1, "floor": -room, "repeat": torch.zeros_like(lengths)}[short_clips]
    most = torch.where(room >= 0, room, slack)
    start = (uniform.double() * (most + 1)).long().minimum(most)
    return torch.where(room < 0, -start, start) if short_clips == "floor" else start


def take_crops(memory: Memory, crops: Crops, n_frames: int, short_clips: ShortClips) -> Tensor:
    """[n, n_frames, n_bins] crops as stored, beside the memory's frames, in one gather."""
    positions, inside = _positions(crops.starts, crops.lengths, n_frames, short_clips)
    index = (positions + crops.offsets[:, None]).flatten()
    taken = memory.frames.index_select(0, index).view(*positions.shape, memory.n_bins)
    if short_clips == "floor" and memory.shortest < n_frames:
        return _silence_outside(taken, inside, memory.kind)
    return taken


def fill_short(frames: Tensor, n_frames: int, short_clips: ShortClips, kind: str) -> Tensor:
    """[n_frames, n_bins] from a clip's [n, n_bins], n <= n_frames: filled as in training, the clip at the beginning."""
    start, length = frames.new_zeros(1, dtype=torch.int64), frames.new_full((1,), len(frames), dtype=torch.int64)
    positions, inside = _positions(start, length, n_frames, short_clips)
    filled = frames[positions]
    return _silence_outside(filled, inside, kind)[0] if short_clips == "floor" else filled[0]


def _positions(starts: Tensor, lengths: Tensor, n_frames: int, short_clips: ShortClips) -> tuple[Tensor, Tensor]:
    """Which frames of its clip each crop takes, and where the clip itself is: int64 and bool [n, n_frames].

    Outside the clip it is run round (wrap, repeat), or its nearest frame is taken, for the caller to silence (floor).
    """
    positions = starts[:, None] + torch.arange(n_frames, device=starts.device)
    inside = (positions >= 0) & (positions < lengths[:, None])
    if short_clips == "floor":
        return positions.clamp(min=0).minimum(lengths[:, None] - 1), inside
    return positions % lengths[:, None], inside


def _silence_outside(crops: Tensor, inside: Tensor, kind: str) -> Tensor:
    """Silence where `inside` is false: 0 in a waveform, else the crop's lowest value (it holds all of a short clip)."""
    floor = torch.zeros_like(crops[:, :1, :1]) if kind == "waveform" else crops.amin((1, 2), keepdim=True)
    return torch.where(inside[:, :, None], crops, floor)
