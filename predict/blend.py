"""Several scores of the same clips become one."""

from typing import Literal

import torch
from torch import Tensor

Blend = Literal["mean", "geometric"]


def blend(scores: Tensor, how: Blend, weights: Tensor | None = None) -> Tensor:
    """The mean, arithmetic or geometric, over the first axis of probabilities [n, ...]; weights [n] add up to 1."""
    shares = torch.full((len(scores),), 1 / len(scores)) if weights is None else weights
    shares = shares.to(scores).reshape(-1, *[1] * (scores.ndim - 1))
    if how == "mean":
        return (scores * shares).sum(0)
    return (scores.clamp(min=torch.finfo(scores.dtype).tiny).log() * shares).sum(0).exp()
