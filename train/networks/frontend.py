"""A network's first layer: raw frames in physical units → normalised input of as many channels as its trunk takes."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from recipe import Network

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
INCEPTION_NETWORKS = ("googlenet", "inception_v3")
"""Their ImageNet weights take pictures from -1 to 1; they have classifiers beside the trunk, which are left out."""
MIN_CLIP_STD = 1e-3
"""The least deviation by which a crop or window is divided, in its unit: silence stays 0."""


class SpectrogramFrontend(nn.Module):
    """[B, n_frames, n_bins] → [B, channels, n_bins, n_frames]: bins are the height, time is the width.

    `mean` and `std`, one number or one a bin, are buffers, so a checkpoint takes frames as they are stored.
    Frames of fewer bins, as early epochs have, are normalised by averages over neighbouring bins. With
    `network.normalise` clip, each input of the batch has mean 0 and deviation 1.
    """

    def __init__(self, n_bins: int, mean: Tensor | float, std: Tensor | float, network: Network) -> None:
        super().__init__()
        self.channels, self.normalise = network.channels, network.normalise
        self.mean = nn.Buffer(torch.as_tensor(mean, dtype=torch.float32).expand(n_bins).clone())
        self.std = nn.Buffer(torch.as_tensor(std, dtype=torch.float32).expand(n_bins).clone())
        # Buffers, because a tensor made in a step would be copied to the device in it.
        centred = network.name in INCEPTION_NETWORKS
        picture_mean, picture_std = ((0.5,) * 3, (0.5,) * 3) if centred else (IMAGENET_MEAN, IMAGENET_STD)
        self.picture_mean = nn.Buffer(torch.tensor(picture_mean).reshape(1, 3, 1, 1), persistent=False)
        self.picture_std = nn.Buffer(torch.tensor(picture_std).reshape(1, 3, 1, 1), persistent=False)
        self.brightness = nn.Buffer(torch.tensor(IMAGENET_MEAN).mean(), persistent=False)
        self.contrast = nn.Buffer(torch.tensor(IMAGENET_STD).mean(), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.mean
        std: Tensor = self.std
        if x.shape[-1] != len(mean):
            mean, std = functional.adaptive_avg_pool1d(torch.stack([mean, std]), x.shape[-1])
        if self.normalise == "clip":
            mean, std = x.mean((1, 2), keepdim=True), x.std((1, 2), correction=0, keepdim=True).clamp(min=MIN_CLIP_STD)
        x = ((x - mean) / std).transpose(1, 2).unsqueeze(1)
        if self.channels == "deltas":
            first = deltas(x)
            x = torch.cat([x, first, deltas(first)], dim=1)
        elif self.normalise == "imagenet":  # with ImageNet's brightness and contrast, then normalised as its pictures
            x = (x * self.contrast + self.brightness - self.picture_mean) / self.picture_std
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
