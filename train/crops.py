"""Random crops of many clips at once: drawn starts, short clips filled, one gather."""

from typing import Literal

import torch
from torch import Generator, Tensor

from train.memory import Memory

ShortClips = Literal["wrap", "floor", "repeat"]


def draw_entries(memory: Memory, rows: Tensor, variant_probability: float, generator: Generator) -> Tensor:
    """An entry for each of `rows`: the recording, or with `variant_probability` one of its offline copies if any."""
    first = memory.first_entry[rows]
    n_copies = memory.first_entry[rows + 1] - first - 1
    chance, which = torch.rand((2, *rows.shape), generator=generator, device=generator.device).to(first.device)
    copy = 1 + (which * n_copies).long().clamp_(max=n_copies - 1)
    return first + torch.where((chance < variant_probability) & (n_copies > 0), copy, 0)


def crop_starts(uniform: Tensor, lengths: Tensor, n_frames: int, short_clips: ShortClips) -> Tensor:
    """[n] int64 starts of crops of `n_frames` in clips of `lengths` frames, from numbers in [0, 1].

    A long clip's crop starts uniformly where it fits. A short clip's starts anywhere (wrap), at its beginning (repeat),
    or before it (floor: negative, the clip lies anywhere in the crop).
    """
    room = lengths - n_frames
    span = {"wrap": lengths - 1, "floor": -room, "repeat": torch.zeros_like(lengths)}[short_clips]
    span = torch.where(room >= 0, room, span)
    # In float64 a long waveform's last samples are reachable; float32 skips starts beyond 2**24.
    start = (uniform.double() * (span + 1)).long().minimum(span)
    return torch.where((room < 0) & (short_clips == "floor"), -start, start)


def crop_positions(starts: Tensor, lengths: Tensor, n_frames: int, short_clips: ShortClips) -> tuple[Tensor, Tensor]:
    """Which frames of its clip a crop takes: int64 [n, n_frames] in 0 .. length - 1, and bool where the clip itself is.

    What lies outside the clip is wrapped round (wrap, repeat), or the nearest frame, for the caller to silence (floor).
    """
    positions = starts[:, None] + torch.arange(n_frames, device=starts.device)
    inside = (positions >= 0) & (positions < lengths[:, None])
    if short_clips == "floor":
        return positions.clamp(min=0).minimum(lengths[:, None] - 1), inside
    return positions % lengths[:, None], inside


def fill_short(frames: Tensor, n_frames: int, short_clips: ShortClips, kind: str) -> Tensor:
    """[n_frames, n_bins] from a clip's [n, n_bins], n <= n_frames: filled as in training, the clip at the beginning."""
    start, length = torch.zeros(1, dtype=torch.int64), torch.tensor([len(frames)])
    positions, inside = crop_positions(start, length, n_frames, short_clips)
    filled = frames[positions.to(frames.device)]
    return _floor_outside(filled, inside.to(frames.device), kind)[0] if short_clips == "floor" else filled[0]


def take_crops(memory: Memory, entries: Tensor, starts: Tensor, n_frames: int, short_clips: ShortClips) -> Tensor:
    """[n, n_frames, n_bins] crops as stored, beside the frames. `starts` as crop_starts draws them."""
    positions, inside = crop_positions(starts, memory.lengths[entries], n_frames, short_clips)
    index = (positions + memory.offsets[entries, None]).flatten()
    crops = memory.frames.index_select(0, index).view(*positions.shape, memory.n_bins)
    if short_clips == "floor" and memory.shortest < n_frames:
        return _floor_outside(crops, inside, memory.kind)
    return crops


def _floor_outside(crops: Tensor, inside: Tensor, kind: str) -> Tensor:
    """Silence where `inside` is false: 0 in a waveform, else the crop's lowest value (it holds all of a short clip)."""
    floor = torch.zeros_like(crops[:, :1, :1]) if kind == "waveform" else crops.amin((1, 2), keepdim=True)
    return torch.where(inside[:, :, None], crops, floor)
