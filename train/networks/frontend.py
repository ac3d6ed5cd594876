"""A network's first layer: raw frames in physical units → normalised input of as many channels as its trunk takes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipe import Network

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class SpectrogramFrontend(nn.Module):
    """[B, n_frames, n_bins] → [B, channels, n_bins, n_frames]: bins are the height, time is the width.

    `mean` and `std`, one number or one a bin, are buffers, so a checkpoint takes frames as they are stored.
    Frames of fewer bins, as early epochs have, are normalised by averages over neighbouring bins.
    """

    def __init__(self, n_bins: int, mean: Tensor | float, std: Tensor | float, network: Network) -> None:
        super().__init__()
        self.channels, self.imagenet = network.channels, network.normalise == "imagenet"
        self.mean = nn.Buffer(torch.as_tensor(mean, dtype=torch.float32).expand(n_bins).clone())
        self.std = nn.Buffer(torch.as_tensor(std, dtype=torch.float32).expand(n_bins).clone())
        # Buffers, because a tensor made in a step would be copied to the device in it.
        self.imagenet_mean = nn.Buffer(torch.tensor(IMAGENET_MEAN).reshape(1, 3, 1, 1), persistent=False)
        self.imagenet_std = nn.Buffer(torch.tensor(IMAGENET_STD).reshape(1, 3, 1, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.mean
        std: Tensor = self.std
        if x.shape[-1] != len(mean):
            mean, std = functional.adaptive_avg_pool1d(torch.stack([mean, std]), x.shape[-1])
        x = ((x - mean) / std).transpose(1, 2).unsqueeze(1)
        if self.channels == "deltas":
            first = deltas(x)
            x = torch.cat([x, first, deltas(first)], dim=1)
        elif self.imagenet:  # with the brightness and contrast of ImageNet's pictures, then normalised as they are
            x = (x * self.imagenet_std.mean() + self.imagenet_mean.mean() - self.imagenet_mean) / self.imagenet_std
        elif self.channels == "copies":
            x = x.expand(-1, 3, -1, -1)
        return x.contiguous(memory_format=torch.channels_last)


def deltas(x: Tensor) -> Tensor:
    """Slope over time (the last axis of [B, 1, n_bins, n_frames]), the outermost frames repeated.

    Regression over two frames on either side, as in HTK; by slices, for autocast makes convolutions less exact.
    """
    padded = functional.pad(x, (2, 2, 0, 0), mode="replicate")
    return 0.2 * (padded[..., 4:] - padded[..., :-4]) + 0.1 * (padded[..., 3:-1] - padded[..., 1:-3])


class WaveformFrontend(nn.Module):
    """[B, n_samples, 1] → [B, 1, n_samples], normalised."""

    def __init__(self, mean: Tensor | float, std: Tensor | float) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.as_tensor(mean, dtype=torch.float32).reshape(1))
        self.std = nn.Buffer(torch.as_tensor(std, dtype=torch.float32).reshape(1))

    def forward(self, x: Tensor) -> Tensor:
        return ((x - self.mean) / self.std).transpose(1, 2)
