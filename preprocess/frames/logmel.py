"""Log-mel spectrograms, as librosa defines them."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from preprocess.frames.dynamic_range import count_reach_frames
from preprocess.frames.filterbank import mel_filterbank
from preprocess.frames.framing import (
    MIN_POWER,
    Frames,
    Samples,
    apply_filterbank,
    iter_windows,
    power_spectra,
    power_to_db,
    split_filterbank,
)
from recipe import Features

FLOAT32_RESOLUTION = 3e-6
"""The least power of a band, as a share of its frame's mean power, that a float32 FFT gives to 1e-3 dB."""


class LogMel:
    """`librosa.feature.melspectrogram` and `power_to_db`, to 1e-3 dB.

    A float32 FFT spreads its rounding errors over all bins, which hides bands far below the mean of their frame. With
    top_db, where few frames have such bands above the floor, only those are computed in float64; else all are.
    """

    def __init__(self, features: Features) -> None:
        self.features, self.taper = features, np.hanning(features.n_fft + 1)[:-1]  # periodic
        self.n_reach = count_reach_frames(features)
        self.taper32 = self.taper.astype(np.float32)
        filters = mel_filterbank(features)
        self.filter_blocks = split_filterbank(filters)
        self.band_gains = np.maximum(filters.sum(axis=1), np.finfo(np.float32).tiny)
        self.resolution = np.full(filters.shape[1], FLOAT32_RESOLUTION / filters.shape[1], np.float32)

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        features, n_frames, peaks = self.features, 0, list[tuple[int, float]]()
        for windows in iter_windows(blocks, features.n_fft, features.hop_length, features.center):
            power = power_spectra(windows, self.taper if features.top_db is None else self.taper32)
            mel = apply_filterbank(power, self.filter_blocks)
            if features.top_db is not None:
                peaks.append((n_frames, float(mel.max())))
                n_frames += len(windows)
                peaks = [(first, peak) for first, peak in peaks if n_frames - 1 - first <= self.n_reach]
                loudest = max((peak for _, peak in peaks), default=0.0)  # within reach of all these frames
                floor = max(MIN_POWER, loudest * 10 ** (-features.top_db / 10))
                unresolved = self._find_unresolved(power, mel, floor)
                if unresolved.any():
                    power = power_spectra(windows[unresolved], self.taper)
                    mel[unresolved] = apply_filterbank(power, self.filter_blocks)
            yield power_to_db(mel)

    def _find_unresolved(self, power: Frames, mel: Frames, floor: float) -> npt.NDArray[np.bool_]:
        """Which frames [n_frames] have bands above `floor` that float32 does not resolve."""
        least = (power @ self.resolution)[:, None] * self.band_gains
        return np.any((mel < least) & (mel > 0.9 * floor), axis=1)
