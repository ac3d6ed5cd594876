"""Scores of the same windows by several networks become one."""

from typing import Literal

import torch
from torch import Tensor

Blend = Literal["mean", "geometric"]


def blend(scores: Tensor, how: Blend) -> Tensor:
    """The arithmetic or geometric mean over the first axis of probabilities [n, ...]."""
    if how == "mean":
        return scores.mean(0)
    return scores.clamp(min=torch.finfo(scores.dtype).tiny).log().mean(0).exp()
