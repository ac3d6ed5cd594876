"""A network's first layer: raw frames in physical units → normalised input of as many channels as its trunk takes."""

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# Regression over two frames on either side, as HTK's deltas.
DELTA_WEIGHTS = (-0.2, -0.1, 0.0, 0.1, 0.2)


class SpectrogramFrontend(nn.Module):
    """[B, n_frames, n_bins] → [B, channels, n_bins, n_frames]: bins are the height, time is the width.

    `mean` and `std`, one number or one a bin, are buffers, so a checkpoint takes frames as they are stored.
    Frames of fewer bins, averaged from neighbours to make early epochs cheap, are normalised by averages as well.
    """

    mean: Tensor
    std: Tensor
    delta_kernel: Tensor
    imagenet_mean: Tensor
    imagenet_std: Tensor

    def __init__(
        self,
        n_bins: int,
        mean: Tensor | float,
        std: Tensor | float,
        channels: Literal["one", "copies", "deltas"] = "one",
        imagenet: bool = False,
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).expand(n_bins).clone())
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).expand(n_bins).clone())
        self.channels, self.imagenet = channels, imagenet
        # Buffers, for a tensor made in a step would be copied to the device in it; made anew with the network.
        self.register_buffer("delta_kernel", torch.tensor(DELTA_WEIGHTS).reshape(1, 1, 1, 5), persistent=False)
        self.register_buffer("imagenet_mean", torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.register_buffer("imagenet_std", torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        mean, std = self.mean, self.std
        if x.shape[-1] != len(mean):
            mean, std = F.adaptive_avg_pool1d(torch.stack([mean, std]), x.shape[-1])
        x = ((x - mean) / std).transpose(1, 2).unsqueeze(1)
        if self.channels == "deltas":
            first_delta = deltas(x, self.delta_kernel)
            x = torch.cat([x, first_delta, deltas(first_delta, self.delta_kernel)], dim=1)
        elif self.channels == "copies":
            x = (
                imagenet_normalise(x, self.imagenet_mean, self.imagenet_std)
                if self.imagenet
                else x.expand(-1, 3, -1, -1)
            )
        return x.contiguous(memory_format=torch.channels_last)


def deltas(x: Tensor, delta_kernel: Tensor) -> Tensor:
    """Slope over time (the last axis of [B, 1, n_bins, n_frames]) by regression over five frames, ends repeated."""
    return F.conv2d(F.pad(x, (2, 2, 0, 0), mode="replicate"), delta_kernel)


def imagenet_normalise(x: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Standardised [B, 1, …] → three channels as bright and as contrasted as ImageNet, normalised as its pictures."""
    return (x * std.mean() + mean.mean() - mean) / std


class WaveformFrontend(nn.Module):
    """[B, n_samples, 1] → [B, 1, n_samples], normalised."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor | float, std: Tensor | float) -> None:
        super().__init__()
        self.register_buffer("mean", torch.as_tensor(mean, dtype=torch.float32).reshape(1))
        self.register_buffer("std", torch.as_tensor(std, dtype=torch.float32).reshape(1))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).transpose(1, 2)
