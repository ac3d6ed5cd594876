"""The project's own trunks: two small 2-D ones for spectrograms on CPUs, and five 1-D convolutions for waveforms."""

from itertools import pairwise

import torch
from torch import Tensor, nn

SMALL_CHANNELS = (32, 64, 128, 256)
M5_CHANNELS = (64, 128, 256, 256, 512)
"""M5 of Dai et al., "Very deep convolutional neural networks for raw waveforms", 2017, with a fifth layer."""


class MeanOverFrequency(nn.Module):
    """[B, channels, n_bins, n_time_steps] → [B, channels, n_time_steps]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


def cnn_small_trunk(n_channels: int) -> nn.Sequential:
    """[B, n_channels, n_bins, n_frames] → [B, 256, n_frames / 16]: a stem, then three blocks of one convolution."""
    blocks = [_build_stem(n_channels)]
    for channels_in, channels in pairwise(SMALL_CHANNELS):
        convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
        blocks.append(_build_block_2d(convolution, pool=channels != SMALL_CHANNELS[-1]))
    return nn.Sequential(*blocks, MeanOverFrequency())


def resnet_small_trunk(n_channels: int) -> nn.Sequential:
    """[B, n_channels, n_bins, n_frames] → [B, 256, n_frames / 32]: a stem, then four residual blocks."""
    stem = _build_stem(n_channels)
    blocks = [ResidualBlock(*channels) for channels in pairwise((SMALL_CHANNELS[0], *SMALL_CHANNELS))]
    return nn.Sequential(stem, *blocks, MeanOverFrequency())


def _build_stem(n_channels: int) -> nn.Sequential:
    """The first block. It halves bins and frames twice, before the number of channels grows."""
    convolution = nn.Conv2d(n_channels, SMALL_CHANNELS[0], 5, stride=2, padding=2, bias=False)
    return _build_block_2d(convolution, pool=True)


def _build_block_2d(convolution: nn.Conv2d, *, pool: bool) -> nn.Sequential:
    block = nn.Sequential(convolution, nn.BatchNorm2d(convolution.out_channels), nn.ReLU(inplace=True))
    return block.append(nn.AvgPool2d(2, ceil_mode=True)) if pool else block


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions beside a shortcut; a block with more channels out than in halves bins and frames."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        stride = 1 if channels == channels_in else 2
        self.convolutions = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        # A mean, not a stride, as in "Bag of Tricks for Image Classification", He et al. 2019.
        pool, projection = nn.AvgPool2d(2, ceil_mode=True), nn.Conv2d(channels_in, channels, 1, bias=False)
        self.shortcut = nn.Sequential(*([pool, projection, nn.BatchNorm2d(channels)] if stride > 1 else []))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.convolutions(x) + self.shortcut(x))


def m5_trunk() -> nn.Sequential:
    """[B, 1, n_samples] → [B, 512, n_samples / 1024]: five 1-D convolutions, the first over 80 samples."""
    first = nn.Conv1d(1, M5_CHANNELS[0], 80, stride=4, padding=38, bias=False)
    blocks = [_build_block_1d(first, pool=True)]
    for channels_in, channels in pairwise(M5_CHANNELS):
        convolution = nn.Conv1d(channels_in, channels, 3, padding=1, bias=False)
        blocks.append(_build_block_1d(convolution, pool=channels != M5_CHANNELS[-1]))
    return nn.Sequential(*blocks)


def _build_block_1d(convolution: nn.Conv1d, *, pool: bool) -> nn.Sequential:
    block = nn.Sequential(convolution, nn.BatchNorm1d(convolution.out_channels))
    if pool:
        block.append(nn.MaxPool1d(4, ceil_mode=True))  # before ReLU, which commutes with it and then has less to do
    return block.append(nn.ReLU(inplace=True))
