"""How fast the loudness of each band swings: modulation spectra of a crop, and trainable units over them."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

N_FREQUENCY_BANDS = 32
N_BAND_GROUPS = 8
"""Groups of frequency bands over which the logarithms of their spectra are averaged."""
MIN_MODULATION = 1 / 128
"""Lowest modulation, in cycles a frame: 0.5 Hz at 64 frames a second. The highest is half a cycle a frame."""
MODULATION_BANDS_PER_OCTAVE = 2
N_MODULATION_BANDS = round(MODULATION_BANDS_PER_OCTAVE * math.log2(0.5 / MIN_MODULATION))
MIN_MODULATION_POWER = 1e-5
"""Floor of the power of modulation, where a band's mean loudness is 1."""


class ModulationUnits(nn.Module):
    """[B, n_frames, n_bins] in dB → [B, n_units]: two layers over the modulation spectrum."""

    def __init__(self, n_units: int, dropout: float) -> None:
        super().__init__()
        n_inputs = 2 * N_BAND_GROUPS * N_MODULATION_BANDS
        self.layers = nn.Sequential(
            nn.BatchNorm1d(n_inputs),
            nn.Dropout(dropout),
            nn.Linear(n_inputs, n_units),
            nn.BatchNorm1d(n_units),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        units: Tensor = self.layers(modulation_spectrum(x))
        return units


def modulation_spectrum(x: Tensor) -> Tensor:
    """[B, n_frames, n_bins] in dB → [B, 2 * N_BAND_GROUPS * N_MODULATION_BANDS]: logarithms of mean and peak of each.

    A band's amplitude over time is divided by its mean, so neither gain nor colour matters. The peak is relative to the
    mean: high for sounds that repeat at one rate. A trunk that halves time four times and then pools loses most of
    this. After Dau et al., "Modeling auditory processing of amplitude modulation", 1997.
    """
    with torch.autocast(x.device.type, enabled=False):
        power = torch.exp2((x.float() - x.amax((1, 2), keepdim=True).float()) * (math.log2(10) / 10))
        amplitude = (functional.adaptive_avg_pool1d(power, N_FREQUENCY_BANDS) + 1e-10).sqrt()
        relative_envelope = amplitude / amplitude.mean(1, keepdim=True) - 1
        mean, peak = pool_modulation_bands(power_spectrum(relative_envelope.transpose(1, 2)))
        peak_to_mean = (peak + MIN_MODULATION_POWER) / (mean + MIN_MODULATION_POWER)
        logarithms = torch.stack([(mean + MIN_MODULATION_POWER).log(), peak_to_mean.log()], 1)
        return functional.adaptive_avg_pool2d(logarithms, (N_BAND_GROUPS, N_MODULATION_BANDS)).flatten(1)


def power_spectrum(x: Tensor) -> Tensor:
    """[..., n] → [..., n // 2]: power of x under a Hann window at 1 to n // 2 cycles in n; exporters take matrices."""
    n = x.shape[-1]
    time = torch.arange(n, device=x.device, dtype=torch.float32)
    window = torch.sin(math.pi * (time + 0.5) / n).square()
    angle = (2 * math.pi / n) * (time[:, None] * torch.arange(1, max(n // 2, 1) + 1, device=x.device) % n)
    cosine, sine = (x @ (window[:, None] * carrier) for carrier in (angle.cos(), angle.sin()))
    return (cosine.square() + sine.square()) / n


def pool_modulation_bands(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """[..., n // 2] → means, maxima [..., N_MODULATION_BANDS] over half octaves; one without a bin has the nearest."""
    n_cycles = spectrum.shape[-1]
    octaves = [step / MODULATION_BANDS_PER_OCTAVE for step in range(N_MODULATION_BANDS + 1)]
    edges = [MIN_MODULATION * 2**octave * 2 * n_cycles for octave in octaves]
    edges[-1] += 1  # half a cycle a frame belongs to the last range
    parts = []
    for low, high in itertools.pairwise(edges):
        first = min(max(math.ceil(low), 1), n_cycles)
        last = min(max(math.ceil(high), first + 1), n_cycles + 1)
        parts.append(spectrum[..., first - 1 : last - 1])
    return torch.stack([part.mean(-1) for part in parts], -1), torch.stack([part.amax(-1) for part in parts], -1)
