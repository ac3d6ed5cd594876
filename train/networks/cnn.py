"""The project's own trunks: two small 2-D ones for spectrograms on CPUs, and five 1-D convolutions for waveforms."""

from itertools import pairwise

import torch
from torch import Tensor, nn

SMALL_CHANNELS = (32, 64, 128, 256)
M5_CHANNELS = (64, 128, 256, 256, 512)


class MeanOverFrequency(nn.Module):
    """[B, channels, n_bins, n_time_steps] → [B, channels, n_time_steps]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


def cnn_small_trunk(n_channels: int = 1) -> nn.Sequential:
    """[B, n_channels, n_bins, n_frames] → [B, 256, n_frames / 16]: four blocks, each of half the bins and columns.

    0.39 M weights. The first block halves twice, before the widths grow: 75 M multiplications for 5 s of 64 bins at
    64 frames a second, an eighth of the same blocks at full size.
    """
    stem = nn.Conv2d(n_channels, SMALL_CHANNELS[0], 5, stride=2, padding=2, bias=False)
    blocks = [nn.Sequential(stem, *_norm_relu_pool_2d(SMALL_CHANNELS[0], pool=True))]
    for channels_in, channels in pairwise(SMALL_CHANNELS):
        convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        blocks.append(nn.Sequential(convolution, *_norm_relu_pool_2d(channels, pool=channels != SMALL_CHANNELS[-1])))
    return nn.Sequential(*blocks, MeanOverFrequency())


def _norm_relu_pool_2d(channels: int, *, pool: bool) -> list[nn.Module]:
    tail: list[nn.Module] = [nn.BatchNorm2d(channels), nn.ReLU(inplace=True)]
    return [*tail, nn.AvgPool2d(2, ceil_mode=True)] if pool else tail


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; `stride` lessens bins and columns in the first."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        # The mean of what a stride would leave out, as in "Bag of Tricks for Image Classification", He et al. 2019.
        pool = [nn.AvgPool2d(stride, ceil_mode=True)] if stride > 1 else []
        project = [nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.shortcut = nn.Sequential(*pool, *(project if channels != channels_in else []))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def resnet_small_trunk(n_channels: int = 1) -> nn.Sequential:
    """[B, n_channels, n_bins, n_frames] → [B, 256, n_frames / 32]: a stem, then four residual blocks.

    1.23 M weights for as many multiplications as `cnn_small_trunk`, twice as deep: it convolves after it has halved the
    bins and columns, and not before.
    """
    stem = nn.Conv2d(n_channels, SMALL_CHANNELS[0], 5, stride=2, padding=2, bias=False)
    blocks = [ResidualBlock(SMALL_CHANNELS[0], SMALL_CHANNELS[0], 1)]
    blocks += [ResidualBlock(channels_in, channels, 2) for channels_in, channels in pairwise(SMALL_CHANNELS)]
    return nn.Sequential(
        nn.Sequential(stem, *_norm_relu_pool_2d(SMALL_CHANNELS[0], pool=True)),
        *blocks,
        MeanOverFrequency(),
    )


def m5_trunk() -> nn.Sequential:
    """[B, 1, n_samples] → [B, 512, n_samples / 1024]: five 1-D convolutions, the first over 80 samples.

    After M5 of Dai et al., "Very deep convolutional neural networks for raw waveforms", 2017, with a fifth layer.
    """
    stem = [
        nn.Conv1d(1, M5_CHANNELS[0], 80, stride=4, padding=38, bias=False),
        *_norm_pool_relu_1d(M5_CHANNELS[0], pool=True),
    ]
    blocks = [nn.Sequential(*stem)]
    for channels_in, channels in pairwise(M5_CHANNELS):
        convolution = nn.Conv1d(channels_in, channels, 3, padding=1, bias=False)
        blocks.append(nn.Sequential(convolution, *_norm_pool_relu_1d(channels, pool=channels != M5_CHANNELS[-1])))
    return nn.Sequential(*blocks)


def _norm_pool_relu_1d(channels: int, *, pool: bool) -> list[nn.Module]:
    # The highest is the highest before and after ReLU, which then has a quarter to do: a twentieth of a step's time.
    pools: list[nn.Module] = [nn.MaxPool1d(4, ceil_mode=True)] if pool else []
    return [nn.BatchNorm1d(channels), *pools, nn.ReLU(inplace=True)]
