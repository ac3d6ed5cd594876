"""How weights change: the optimizer, the schedule of its learning rates, and a moving average of the weights."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from recipe import Training
from train.networks.factory import AudioNetwork

MIN_ONE_CYCLE_STEPS = 10
"""With fewer steps, one_cycle keeps its rate."""


def build_optimizer(network: AudioNetwork, training: Training) -> Optimizer:
    """The optimizer `training.optimizer` names; each of the network's layer groups has a learning rate of its own.

    Parameters of one dimension, biases and those of normalisation layers, have no weight decay. Steps are fused: one
    pass over all weights, in which a GradScaler's skipped step needs no word from the device to the host.
    """
    groups: list[dict[str, Any]] = []
    for number, (layers, lr) in enumerate(zip(network.layer_groups(), training.group_lrs(), strict=True)):
        for weight_decay, with_decay in ((training.weight_decay, True), (0.0, False)):
            parameters = [each for each in layers.parameters() if (each.ndim > 1) == with_decay]
            if parameters:
                groups.append({"params": parameters, "lr": lr, "weight_decay": weight_decay, "layers": number})
    momentum = training.momentum
    match training.optimizer:
        case "adamw":
            return torch.optim.AdamW(groups, betas=(momentum, 0.999), fused=True)
        case "adam":
            return torch.optim.Adam(groups, betas=(momentum, 0.999), fused=True)
        case _:
            sgd = torch.optim.SGD(groups, momentum=momentum, nesterov=momentum > 0, fused=True)
            if momentum:  # else they are whatever memory held, where a GradScaler skips the first step
                for weight in network.parameters():
                    sgd.state[weight]["momentum_buffer"] = torch.zeros_like(weight)
            return sgd


def build_schedule(optimizer: Optimizer, training: Training, n_steps: int) -> LRScheduler:
    """The schedule `training.schedule` names, over `n_steps` optimizer steps; only ReduceLROnPlateau goes by epochs."""
    n_warmup = round(training.warmup * n_steps)
    match training.schedule:
        case "one_cycle" if n_steps >= MIN_ONE_CYCLE_STEPS:
            rates = [group["lr"] for group in optimizer.param_groups]
            # OneCycleLR divides by zero where fewer than two steps rise, or none falls.
            rising = min(max(n_warmup, 2), n_steps - 2) / n_steps
            return OneCycleLR(optimizer, rates, n_steps, pct_start=rising, cycle_momentum=training.momentum > 0)
        case "cosine":
            return LambdaLR(optimizer, lambda step: cosine_with_warmup(step, n_warmup, n_steps))
        case "plateau":
            # PyTorch lowers the rate after one epoch more than its patience.
            return ReduceLROnPlateau(optimizer, "max", factor=0.1, patience=training.patience - 1, threshold=0.0)
        case _:
            return LambdaLR(optimizer, lambda _: 1.0)


def start_stage(optimizer: Optimizer, training: Training, stage: int, n_steps: int) -> LRScheduler:
    """The schedule of one of `training.stages`, over its `n_steps`; the optimizer keeps its averages of gradients."""
    for group in optimizer.param_groups:
        group["lr"] = group["initial_lr"] = training.group_lrs(stage)[group["layers"]]
    return build_schedule(optimizer, training, n_steps)


def cosine_with_warmup(step: int, n_warmup: int, n_steps: int) -> float:
    """Factor of the highest rate at a step: a straight rise over `n_warmup` steps, then half a cosine down to zero."""
    if step < n_warmup:
        return (step + 1) / n_warmup
    return 0.5 + 0.5 * math.cos(math.pi * min((step - n_warmup) / max(n_steps - n_warmup, 1), 1))


def create_ema_model(network: AudioNetwork, decay: float) -> AveragedModel:
    """A copy of `network`, in eval mode, that `update_parameters` moves by 1 - decay towards the network's weights.

    In update n the decay is at most (1 + n) / (10 + n), because the first weights are poor.
    """

    def average(averaged: PARAM_LIST, current: PARAM_LIST, _: Tensor | int) -> None:
        if averaged[0].is_floating_point():
            n = int(ema.n_averaged)  # on the CPU, so that no step waits for the GPU
            get_ema_multi_avg_fn(min(decay, (1 + n) / (10 + n)))(averaged, current, n)
        else:
            for counter, value in zip(averaged, current, strict=True):
                counter.copy_(value)

    ema = AveragedModel(network, multi_avg_fn=average, use_buffers=True)
    ema.n_averaged.fill_(1)  # the copied weights
    return ema.eval().requires_grad_(False)
