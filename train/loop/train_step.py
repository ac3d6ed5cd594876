"""One optimizer step on one batch."""

import torch
from torch import Tensor, nn

from core.device import autocast_context
from recipe import Training
from train.data.batches import Batch
from train.loop.losses import batch_loss
from train.loop.train_state import TrainState


def train_step(train_state: TrainState, network: nn.Module, batch: Batch, training: Training) -> Tensor:
    """Take a step by `network`, the train state's own or one made of it; the loss, on the device.

    A GradScaler skips a step whose gradients are not finite, without a word to the host.
    """
    scaler, optimizer = train_state.scaler, train_state.optimizer
    torch.backends.cudnn.benchmark = True  # of crops of one size; prediction may have turned it off
    with autocast_context(batch.x.device, training.precision):
        loss = batch_loss(network(batch.x), batch.y, batch.noisy, training)
    scaler.scale(loss).backward()
    if training.clip_gradient:
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(train_state.network.parameters(), training.clip_gradient)
    scaler.step(optimizer)
    scaler.update()
    optimizer.zero_grad()
    return loss.detach()
