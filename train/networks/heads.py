"""Heads: time steps [B, channels, n_time_steps] → one vector → logits [B, n_labels]."""

import torch
from torch import Tensor, nn

from recipe import Network


class Float32Head(nn.Sequential):
    """Layers that compute in float32 under autocast too: logits of bfloat16, which has 8 bits, would tie."""

    def forward(self, time_steps: Tensor) -> Tensor:
        with torch.autocast(time_steps.device.type, enabled=False):
            logits: Tensor = super().forward(time_steps.float())
        return logits


class MeanPooling(nn.Module):
    def forward(self, time_steps: Tensor) -> Tensor:
        return time_steps.mean(-1)


class MeanMaxPooling(nn.Module):
    """The mean over time plus the maximum: what lasts, and what happens once."""

    def forward(self, time_steps: Tensor) -> Tensor:
        return time_steps.mean(-1) + time_steps.amax(-1)


class AttentionPooling(nn.Module):
    """A mean over time, weighted by a learned function of each time step."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv1d(channels, 1, 1)

    def forward(self, time_steps: Tensor) -> Tensor:
        return (time_steps * torch.softmax(self.weigh(time_steps), dim=-1)).sum(-1)


def build_head(network: Network, channels: int, n_labels: int) -> Float32Head:
    """Pooling over time, then one linear layer, or two with `network.hidden` units between them."""
    if network.pooling == "attention":
        pooling: nn.Module = AttentionPooling(channels)
    else:
        pooling = MeanPooling() if network.pooling == "mean" else MeanMaxPooling()
    layers = [pooling, nn.Dropout(network.dropout)]
    if network.hidden:
        layers += [nn.Linear(channels, network.hidden), nn.ReLU(inplace=True), nn.Dropout(network.dropout)]
    return Float32Head(*layers, nn.Linear(network.hidden or channels, n_labels))
