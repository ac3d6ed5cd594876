"""Heads: columns of time [B, channels, n_columns] → one vector → logits [B, n_labels]."""

import torch
from torch import Tensor, nn

from recipe import Network


class MeanColumns(nn.Module):
    """The mean over time."""

    def forward(self, columns: Tensor) -> Tensor:
        return columns.mean(-1)


class MeanMaxColumns(nn.Module):
    """The mean over time plus the maximum: what lasts, and what happens once."""

    def forward(self, columns: Tensor) -> Tensor:
        return columns.mean(-1) + columns.amax(-1)


class AttentionColumns(nn.Module):
    """A mean over time whose weights are learnt from the columns themselves."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Conv1d(channels, 1, 1)

    def forward(self, columns: Tensor) -> Tensor:
        return (columns * torch.softmax(self.weigh(columns), dim=-1)).sum(-1)


def build_pooling(name: str, channels: int) -> nn.Module:
    """The pooling `network.pooling` names: [B, channels, n_columns] → [B, channels]."""
    match name:
        case "mean":
            return MeanColumns()
        case "mean_max":
            return MeanMaxColumns()
        case _:
            return AttentionColumns(channels)


def build_head(network: Network, channels: int, n_labels: int) -> nn.Sequential:
    """Pooling over time, then one linear layer, or two with `network.hidden` units between them."""
    layers: list[nn.Module] = [build_pooling(network.pooling, channels), nn.Dropout(network.dropout)]
    if network.hidden:
        layers += [nn.Linear(channels, network.hidden), nn.ReLU(inplace=True), nn.Dropout(network.dropout)]
    return nn.Sequential(*layers, nn.Linear(network.hidden or channels, n_labels))
