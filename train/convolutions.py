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
    """[B, n_channels, n_bins, n_frames] → [B, 256, n_frames / 16]: five convolutions, four of them with stride two.

    0.54 M weights; any number of bins and frames from one. Strides in place of pooling: training took a fifth of the
    time (75 clips/s of 128 by 192 on one core instead of 15).
    """
    narrow, middle, wide, widest = SMALL_WIDTHS
    return nn.Sequential(
        _block(n_channels, narrow, size=5, stride=2),
        _block(narrow, middle, stride=2),
        _block(middle, wide, stride=2),
        _block(wide, wide),
        _block(wide, widest, stride=2),
        MeanOverBins(),
    )


def _block(channels_in: int, channels: int, *, size: int = 3, stride: int = 1) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels, size, stride, padding=size // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


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
