"""The project's own trunks: a small 2-D one for spectrograms on CPUs, and five 1-D convolutions for raw waveforms."""

from itertools import pairwise

from torch import Tensor, nn

SMALL_WIDTHS = (32, 64, 128, 256)
WAVE_WIDTHS = (64, 128, 256, 256, 512)


class MeanOverBins(nn.Module):
    """[B, channels, n_bins, n_columns] → [B, channels, n_columns]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(2)


def small_trunk(n_channels: int = 1) -> nn.Sequential:
    """[B, n_channels, n_bins, n_frames] → [B, 256, n_frames / 16]: four blocks of 3 by 3 convolutions.

    0.54 M weights; average pooling by two after each block; any number of bins and frames from one.
    """
    return nn.Sequential(
        _block(n_channels, SMALL_WIDTHS[0], 1),
        _block(SMALL_WIDTHS[0], SMALL_WIDTHS[1], 1),
        _block(SMALL_WIDTHS[1], SMALL_WIDTHS[2], 2),
        _block(SMALL_WIDTHS[2], SMALL_WIDTHS[3], 1),
        MeanOverBins(),
    )


def _block(channels_in: int, channels: int, n_layers: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for layer in range(n_layers):
        layers += [
            nn.Conv2d(channels if layer else channels_in, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers, nn.AvgPool2d(2, ceil_mode=True))


def wave_trunk() -> nn.Sequential:
    """[B, 1, n_samples] → [B, 512, n_samples / 1024]: five 1-D convolutions, the first over 80 samples.

    After M5 of Dai et al., "Very deep convolutional neural networks for raw waveforms", 2017, with a fifth layer.
    """
    stem = [nn.Conv1d(1, WAVE_WIDTHS[0], 80, stride=4, padding=38, bias=False), *_wave_tail(WAVE_WIDTHS[0], pool=True)]
    blocks = [nn.Sequential(*stem)]
    for channels_in, channels in pairwise(WAVE_WIDTHS):
        convolution = nn.Conv1d(channels_in, channels, 3, padding=1, bias=False)
        blocks.append(nn.Sequential(convolution, *_wave_tail(channels, pool=channels != WAVE_WIDTHS[-1])))
    return nn.Sequential(*blocks)


def _wave_tail(channels: int, *, pool: bool) -> list[nn.Module]:
    tail: list[nn.Module] = [nn.BatchNorm1d(channels), nn.ReLU(inplace=True)]
    return [*tail, nn.MaxPool1d(4, ceil_mode=True)] if pool else tail
