"""A trained filterbank: samples → decibels of bands, as the frames of a spectrogram are."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from preprocess.frames.filterbank import mel_edges_hz
from recipe import Features

MAX_FILTER_S = 0.023
POSITIONS_PER_FRAME = 4
"""Positions of each filter in a frame, over which its power is averaged."""
MIN_BAND_POWER = 1e-8
"""Floor of a band's power, where white noise at the recordings' mean power has 1."""
LEVEL_MEAN_DB, LEVEL_STD_DB = -25.0, 20.0
"""By which a spectrogram network normalises these decibels; batch normalisation after it does the rest."""


class TrainedFilterbank(nn.Module):
    """Samples [B, n_frames, features.n_bins] → decibels [B, n_frames, n_bins].

    A band's power is the sum of the squares of two filters' outputs: at first a cosine and a sine at the centre of a
    mel band, under a Hann window as wide in frequency as the band. All taps are trained. After Zeghidour et al.,
    "Learning filterbanks from raw speech for phone recognition", 2018.
    """

    def __init__(self, features: Features, n_bins: int, mean: Tensor | float, std: Tensor | float) -> None:
        super().__init__()
        self.mean = nn.Buffer(torch.as_tensor(mean, dtype=torch.float32).mean())
        self.std = nn.Buffer(torch.as_tensor(std, dtype=torch.float32).mean())
        taps = torch.from_numpy(mel_gabor_filters(features, n_bins))
        self.filters = nn.Conv1d(1, 2 * n_bins, taps.shape[1], features.n_bins // POSITIONS_PER_FRAME, bias=False)
        self.filters.weight = nn.Parameter(taps[:, None])
        self.gain = nn.Buffer(1 / taps.square().sum(1).view(2, n_bins, 1).sum(0))

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            samples = ((x.float() - self.mean) / self.std).flatten(1).unsqueeze(1)
            n_around = self.filters.kernel_size[0] - self.filters.stride[0]
            samples = functional.pad(samples, (n_around // 2, n_around - n_around // 2))
            cosine, sine = self.filters(samples).chunk(2, 1)
            power = functional.avg_pool1d(cosine.square() + sine.square(), POSITIONS_PER_FRAME)
            return 10 * (power * self.gain + MIN_BAND_POWER).log10().transpose(1, 2)


def count_taps(sample_rate_hz: int) -> int:
    """Samples of a filter."""
    return round(MAX_FILTER_S * sample_rate_hz)


def mel_gabor_filters(features: Features, n_bins: int) -> np.ndarray:
    """float32 [2 * n_bins, n_taps]: cosines, then sines, of amplitude 1 under Hann windows.

    Bands are even in mel over the features' range; low ones are wider, where a window would exceed MAX_FILTER_S.
    """
    edges_hz = mel_edges_hz(features, n_bins)
    n_taps = count_taps(features.sample_rate_hz)
    time_s = (np.arange(n_taps) - (n_taps - 1) / 2) / features.sample_rate_hz
    # From half amplitude to half amplitude a Hann window of T seconds passes 2 / T.
    lengths_s = np.minimum(4 / (edges_hz[2:] - edges_hz[:-2]), MAX_FILTER_S)[:, None]
    window = np.where(2 * np.abs(time_s) < lengths_s, 0.5 + 0.5 * np.cos(2 * np.pi * time_s / lengths_s), 0.0)
    angle = 2 * np.pi * edges_hz[1:-1, None] * time_s
    return np.concatenate([window * np.cos(angle), window * np.sin(angle)]).astype(np.float32)
