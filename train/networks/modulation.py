"""How fast the loudness of each band swings: modulation spectra of a crop, and units that learn from them."""

import itertools
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

FINE_BANDS = 32
"""Bands whose loudness is followed."""
BANDS = 8
"""Groups of them over which the logarithms of their spectra are averaged."""
SLOWEST = 1 / 128
"""Lowest modulation, in cycles a frame: 0.5 Hz at 64 frames a second. The highest is half a cycle a frame."""
STEPS_PER_OCTAVE = 2
RANGES = round(STEPS_PER_OCTAVE * math.log2(0.5 / SLOWEST))
"""Ranges of modulation, each a step wide."""
SMALLEST = 1e-5
"""Power of modulation that is taken for none, where a band's mean loudness is 1."""


class ModulationSpectrum(nn.Module):
    """[B, n_frames, n_bins] in dB → [B, 2 * BANDS * RANGES]: mean and peak of each range of modulation, as logarithms.

    A band's amplitude is followed frame by frame and divided by its mean, so neither gain nor colour matters: rain is
    even, a rotor beats, a clock ticks. The peak is relative to the mean: high for what repeats at one rate. Of this a
    trunk that halves time four times and then pools hears little. After the modulation spectrum of hearing research:
    Dau et al., "Modeling auditory processing of amplitude modulation", 1997.
    """

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            power = torch.exp2((x.float() - x.amax((1, 2), keepdim=True).float()) * (math.log2(10) / 10))
            amplitude = (functional.adaptive_avg_pool1d(power, FINE_BANDS) + 1e-10).sqrt()
            swing = amplitude / amplitude.mean(1, keepdim=True) - 1
            spectrum = power_spectrum(swing.transpose(1, 2))
            mean, peak = in_ranges(spectrum)
            logarithms = torch.stack([(mean + SMALLEST).log(), ((peak + SMALLEST) / (mean + SMALLEST)).log()], 1)
            return functional.adaptive_avg_pool2d(logarithms, (BANDS, RANGES)).flatten(1)


def power_spectrum(x: Tensor) -> Tensor:
    """[..., n] → [..., n // 2]: power of x under a Hann window at 1 to n // 2 cycles in n; a sine of 1 has about 1/4 n.

    By matrices, which at some hundred frames cost nothing beside a network and which every exporter knows.
    """
    n = x.shape[-1]
    time = torch.arange(n, device=x.device, dtype=torch.float32)
    window = torch.sin(math.pi * (time + 0.5) / n).square()
    angle = (2 * math.pi / n) * (time[:, None] * torch.arange(1, max(n // 2, 1) + 1, device=x.device) % n)
    cosine, sine = (x @ (window[:, None] * wave) for wave in (angle.cos(), angle.sin()))
    return (cosine.square() + sine.square()) / n


def in_ranges(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """[..., n // 2] → means and maxima [..., RANGES] over half octaves; a range without a bin has the nearest one."""
    n_cycles = spectrum.shape[-1]
    edges = [SLOWEST * 2 ** (step / STEPS_PER_OCTAVE) * 2 * n_cycles for step in range(RANGES + 1)]
    edges[-1] += 1  # half a cycle a frame belongs to the last range
    parts = []
    for low, high in itertools.pairwise(edges):
        first = min(max(math.ceil(low), 1), n_cycles)
        last = min(max(math.ceil(high), first + 1), n_cycles + 1)
        parts.append(spectrum[..., first - 1 : last - 1])
    return torch.stack([part.mean(-1) for part in parts], -1), torch.stack([part.amax(-1) for part in parts], -1)


class ModulationUnits(nn.Module):
    """[B, n_frames, n_bins] in dB → [B, n_units]: two layers over the modulation spectrum."""

    def __init__(self, n_units: int, dropout: float) -> None:
        super().__init__()
        n_inputs = 2 * BANDS * RANGES
        self.spectrum = ModulationSpectrum()
        self.layers = nn.Sequential(
            nn.BatchNorm1d(n_inputs),
            nn.Dropout(dropout),
            nn.Linear(n_inputs, n_units),
            nn.BatchNorm1d(n_units),
            nn.ReLU(inplace=True),
        )

    def forward(self, x: Tensor) -> Tensor:
        units: Tensor = self.layers(self.spectrum(x))
        return units
