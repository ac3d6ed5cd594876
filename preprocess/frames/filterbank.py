"""The mel filterbank, as librosa defines it."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from recipe import Features

Scale = Literal["slaney", "htk"]
Floats = npt.NDArray[np.float32]

BREAK_HZ, BREAK_MEL, STEP = 1000.0, 15.0, np.log(6.4) / 27.0
"""Slaney's scale is linear, 3 mel in 200 Hz, up to BREAK_HZ, and logarithmic above: 27 mel to a factor of 6.4."""


def hz_to_mel(hz: npt.ArrayLike, scale: Scale) -> npt.NDArray[np.float64]:
    """Mel of frequencies in Hz."""
    hz = np.asarray(hz, dtype=np.float64)
    if scale == "htk":
        return np.asarray(2595.0 * np.log10(1.0 + hz / 700.0))
    above = BREAK_MEL + np.log(np.maximum(hz, BREAK_HZ) / BREAK_HZ) / STEP
    return np.where(hz >= BREAK_HZ, above, hz * BREAK_MEL / BREAK_HZ)


def mel_to_hz(mel: npt.ArrayLike, scale: Scale) -> npt.NDArray[np.float64]:
    """Frequencies in Hz of mel."""
    mel = np.asarray(mel, dtype=np.float64)
    if scale == "htk":
        return np.asarray(700.0 * (10.0 ** (mel / 2595.0) - 1.0))
    above = BREAK_HZ * np.exp(STEP * np.maximum(mel - BREAK_MEL, 0.0))
    return np.where(mel >= BREAK_MEL, above, mel * BREAK_HZ / BREAK_MEL)


def mel_edges_hz(features: Features, n_bands: int) -> npt.NDArray[np.float64]:
    """[n_bands + 2] frequencies, even in mel over a recipe's range: a band reaches from one to the next but one."""
    low, high = hz_to_mel([features.fmin_hz, features.fmax_hz or features.sample_rate_hz / 2], features.mel_scale)
    return mel_to_hz(np.linspace(low, high, n_bands + 2), features.mel_scale)


def mel_filterbank(features: Features) -> Floats:
    """Triangular filters [n_bins, n_fft // 2 + 1] of equal area: `librosa.filters.mel(..., norm="slaney")`."""
    edges_hz = mel_edges_hz(features, features.n_bins)
    bins_hz = np.fft.rfftfreq(features.n_fft, 1.0 / features.sample_rate_hz)
    widths_hz = np.diff(edges_hz)[:, None]
    rising = (bins_hz - edges_hz[:-2, None]) / widths_hz[:-1]
    falling = (edges_hz[2:, None] - bins_hz) / widths_hz[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    return (filters * (2.0 / (edges_hz[2:] - edges_hz[:-2]))[:, None]).astype(np.float32)
