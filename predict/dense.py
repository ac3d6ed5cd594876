"""Sliding windows for the price of one pass: the trunk runs over a whole span, and its windows share the columns."""

import numpy as np
import torch
from torch import Tensor

from train.networks import SoundNetwork


def can_share(network: SoundNetwork) -> bool:
    """Whether windows may share columns: the head takes any run of them, and no layer looks at the whole input."""
    # By name: importing torchvision takes two seconds, which commands with other networks do without.
    return network.dense and not any(type(layer).__name__ == "SqueezeExcitation" for layer in network.modules())


@torch.inference_mode()
def score_sharing(network: SoundNetwork, frames: Tensor, starts: np.ndarray, window: int) -> Tensor:
    """Probabilities float32 [n_windows, n_labels] of windows of some frames, each at the columns nearest to it.

    Other than by itself, a window hears at its edges what lies beyond them, and not silence.
    """
    columns = network.columns(frames[None])[0]
    step, n_columns = network.frames_per_column, columns.shape[-1]
    width = min(max(round(window / step), 1), n_columns)
    first = np.minimum((starts / step + 0.5).astype(np.int64), n_columns - width)
    picked = torch.from_numpy(first[:, None] + np.arange(width)).to(columns.device)
    return network.probabilities(network.head(columns[:, picked].transpose(0, 1)))
