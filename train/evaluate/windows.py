"""Sliding windows of a clip: their frames, and how their scores and those of several networks become one."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from core.device import to_device
from recipe import Prediction
from train.data.crops import ShortClipPadding, pad_short_clip
from train.networks.factory import Activation

Blend = Literal["mean", "geometric"]
CHUNK_WINDOWS = 64
TIE_BREAK_WEIGHT = 1e-3
"""Weight of the mean probability beside the share of votes: it ranks labels of equal shares, up to some 900 windows."""


@dataclass(frozen=True)
class WindowChunk:
    """Neighbouring windows of one clip, with their frames."""

    starts: np.ndarray
    """First frame of each window in the clip [n_windows] int64."""
    first: int
    """First of `frames` in the clip."""
    frames: Tensor
    """[n_frames, n_bins], those of the windows and up to a margin more on either side."""


def window_and_hop_frames(prediction: Prediction, frames_per_second: float) -> tuple[int, int]:
    """Frames of a window and of a hop, at least one."""
    window, hop = prediction.window_seconds * frames_per_second, prediction.hop_seconds * frames_per_second
    return max(round(window), 1), max(round(hop), 1)


def window_starts(n_frames: int, window_frames: int, hop_frames: int) -> np.ndarray:
    """First frames of the windows over a clip, int64: 0, hop, 2 hop …, and one flush with the end if frames are left.

    A clip no longer than a window has the one window that starts at 0.
    """
    last = max(n_frames - window_frames, 0)
    starts = np.arange(0, last + 1, hop_frames, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def iter_chunks(
    blocks: Iterable[Tensor], window: int, hop: int, margin: int = 0, alignment: int = 1
) -> Iterator[WindowChunk]:
    """A clip's windows in chunks, from its blocks of frames [n, n_bins]; memory does not grow with the clip's length.

    Chunks have `margin` frames around their windows, and start at a multiple of `alignment`.
    """
    kept: list[Tensor] = []
    first_kept = n_frames = n_done = 0

    def make_chunk(starts: np.ndarray) -> WindowChunk:
        nonlocal kept, first_kept
        first = max(int(starts[0]) - margin, 0) // alignment * alignment
        whole = kept[0] if len(kept) == 1 else torch.cat(kept)  # a long clip in one block is not copied at each chunk
        frames = whole[first - first_kept :]
        kept, first_kept = [frames], first
        return WindowChunk(starts, first, frames[: int(starts[-1]) + window + margin - first])

    for block in blocks:
        kept.append(block)
        n_frames += len(block)
        while n_frames >= (n_done + CHUNK_WINDOWS - 1) * hop + window + margin:
            yield make_chunk(np.arange(n_done, n_done + CHUNK_WINDOWS, dtype=np.int64) * hop)
            n_done += CHUNK_WINDOWS
    starts = window_starts(n_frames, window, hop)
    for index in range(n_done, len(starts), CHUNK_WINDOWS):
        yield make_chunk(starts[index : index + CHUNK_WINDOWS])


def slice_windows(
    frames: Tensor, starts: np.ndarray, window_frames: int, padding: ShortClipPadding, kind: str
) -> Tensor:
    """Windows [n_windows, window_frames, n_bins] of a clip's frames [n, n_bins]; a shorter clip is padded to one."""
    if len(frames) < window_frames:
        return pad_short_clip(frames, window_frames, padding, kind)[None]
    offsets = torch.arange(window_frames, device=frames.device)
    return frames[to_device(torch.from_numpy(starts), frames.device)[:, None] + offsets]


def pool_windows(scores: Tensor, prediction: Prediction) -> Tensor:
    """One score a label [n_labels] from those of a clip's windows [n_windows, n_labels], by `prediction.pooling`."""
    match prediction.pooling:
        case "mean":
            return scores.mean(0)
        case "max":
            return scores.amax(0)
        case "vote_fraction":
            shares = (scores > prediction.count_above()).float().mean(0)
            return torch.lerp(shares, scores.mean(0), TIE_BREAK_WEIGHT)
        case "center":
            return scores[(len(scores) - 1) // 2]


def describe_scores(prediction: Prediction) -> str:
    """What a clip's scores are, in words."""
    return {
        "mean": "the mean probability of its windows",
        "max": "the highest probability of its windows",
        "vote_fraction": f"the share of its windows above {prediction.count_above():g}, and of equal shares the "
        f"higher mean probability first (it has a weight of {TIE_BREAK_WEIGHT:g})",
        "center": "the probability of its middle window",
    }[prediction.pooling]


def blend(scores: Tensor, how: Blend, activation: Activation) -> Tensor:
    """The arithmetic or geometric mean over the first axis, networks, of probabilities [n, ..., n_labels].

    Geometric means of softmax are divided by their sum, so that they add up to 1 too.
    """
    if how == "mean":
        return scores.mean(0)
    blended = scores.clamp(min=torch.finfo(scores.dtype).tiny).log().mean(0).exp()
    return blended / blended.sum(-1, keepdim=True) if activation == "softmax" else blended
