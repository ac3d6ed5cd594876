"""Sliding windows over one clip, and their pooling into one score a label: the same in validation as in prediction."""

import numpy as np
import torch
from torch import Tensor

from recipe import Prediction
from train.data.crops import ShortClipPadding, pad_short_clip


def window_and_hop_frames(prediction: Prediction, frames_per_second: float) -> tuple[int, int]:
    """Frames of a window and of a hop, at least one."""
    return (
        max(round(prediction.window_seconds * frames_per_second), 1),
        max(round(prediction.hop_seconds * frames_per_second), 1),
    )


def window_starts(n_frames: int, window_frames: int, hop_frames: int) -> np.ndarray:
    """First frames of the windows over a clip, int64: 0, hop, 2 hop …, and one flush with the end if frames are left.

    A clip no longer than a window has the one window that starts at 0.
    """
    last = max(n_frames - window_frames, 0)
    starts = np.arange(0, last + 1, hop_frames, dtype=np.int64)
    return starts if starts[-1] == last else np.append(starts, last)


def slice_windows(
    frames: Tensor,
    starts: np.ndarray,
    window_frames: int,
    short_clip_padding: ShortClipPadding = "random_tile",
    kind: str = "logmel",
) -> Tensor:
    """Windows [n_windows, window_frames, n_bins] of a clip's frames [n, n_bins], a short clip filled as in training."""
    if len(frames) < window_frames:
        return pad_short_clip(frames, window_frames, short_clip_padding, kind)[None]
    offsets = torch.arange(window_frames, device=frames.device)
    return frames[torch.from_numpy(starts).to(frames.device)[:, None] + offsets]


def pool_windows(scores: Tensor, prediction: Prediction) -> Tensor:
    """One score a label [n_labels] from those of a clip's windows [n_windows, n_labels], by `prediction.pooling`."""
    match prediction.pooling:
        case "mean":
            return scores.mean(0)
        case "max":
            return scores.amax(0)
        case "vote_fraction":
            return (scores > prediction.window_threshold).float().mean(0)
        case "center":
            return scores[(len(scores) - 1) // 2]
