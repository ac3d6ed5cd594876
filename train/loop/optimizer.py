"""Who steps, and how far: optimizers over layer groups with learning rates of their own."""

from typing import Any

import numpy as np
import torch
from torch import nn

from recipe import Training
from train.networks.factory import AudioNetwork


def build_optimizer(network: AudioNetwork, training: Training) -> torch.optim.Optimizer:
    """The optimizer `training.optimizer` names; of a slice of rates the first layers have the lowest, the head the top.

    Biases and normalisation layers, whatever has one dimension, do not decay.
    """
    groups = parameter_groups(network.layer_groups(), training.lr_range, training.weight_decay)
    fused = next(network.parameters()).is_cuda
    betas = (training.momentum, 0.999)
    match training.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, betas=betas, fused=fused)
        case "adam":
            return torch.optim.Adam(groups, betas=betas, fused=fused)
        case _:
            return torch.optim.SGD(groups, momentum=training.momentum, nesterov=training.momentum > 0, fused=fused)


def parameter_groups(
    layer_groups: list[nn.Module], lr_range: tuple[float, float], weight_decay: float
) -> list[dict[str, Any]]:
    """Two groups a layer group, with and without decay; learning rates evenly spaced in log from first to last."""
    rates = np.geomspace(*lr_range, len(layer_groups)).tolist()
    groups = []
    for layers, lr in zip(layer_groups, rates, strict=True):
        parameters = list(layers.parameters())
        for decay, chosen in (
            (weight_decay, [each for each in parameters if each.ndim > 1]),
            (0.0, [each for each in parameters if each.ndim <= 1]),
        ):
            if chosen:
                groups.append({"params": chosen, "lr": lr, "weight_decay": decay})
    return groups
