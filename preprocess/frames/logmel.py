"""Log-mel spectrograms, as librosa defines them."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from preprocess.frames.filterbank import apply_filterbank, mel_filterbank, split_filterbank
from preprocess.frames.framing import (
    MIN_POWER,
    Frames,
    Samples,
    _in_float64,
    hann,
    iter_windows,
    power_spectra,
    power_to_db,
)
from recipe import Features

PRECISE_DB = 100.0
"""A top_db from which on float64 alone is faster: a quarter of ESC-10's frames would be computed again in it."""
MIN_RESOLVED_SHARE = 3e-6
"""The least power of a band, against its frame's mean, that a float32 FFT gives to 1e-3 dB: measured on ESC-10."""


class LogMel:
    """`librosa.feature.melspectrogram` and `power_to_db`, to 1e-3 dB, in a third of their time.

    A float32 FFT spreads its rounding over all bins, and drowns bands far below the mean of their frame: above the
    cut-off of a lossy codec, say. Frames with such bands above top_db's floor are computed again in float64, as librosa
    computes all.
    """

    def __init__(self, features: Features) -> None:
        self.features = features
        self.precise = features.top_db is None or features.top_db >= PRECISE_DB
        self.share_kept = 0.0 if features.top_db is None else 10 ** (-features.top_db / 10)
        self.window64 = hann(features.n_fft)
        self.window = self.window64.astype(np.float32)
        filters = mel_filterbank(features)
        self.filter_blocks = split_filterbank(filters)
        self.per_gain = 1 / np.maximum(filters.sum(axis=1), np.finfo(np.float32).tiny)
        self.share_resolved = np.full(filters.shape[1], MIN_RESOLVED_SHARE / filters.shape[1], np.float32)

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        features, floor = self.features, MIN_POWER
        for view in iter_windows(blocks, features.n_fft, features.hop_length, features.center):
            if self.precise:
                mel = self._mel_in_float64(_in_float64(view))
            else:
                power = power_spectra(view, self.window)
                mel = apply_filterbank(power, self.filter_blocks)
                floor = max(floor, float(mel.max()) * self.share_kept)
                unresolved = self._unresolved(power, mel, floor)
                if unresolved.any():
                    mel[unresolved] = self._mel_in_float64(_in_float64(view)[unresolved])
            yield power_to_db(mel)

    def _mel_in_float64(self, view: npt.NDArray[np.float64]) -> Frames:
        return apply_filterbank(power_spectra(view, self.window64), self.filter_blocks)

    def _unresolved(self, power: Frames, mel: Frames, floor: float) -> npt.NDArray[np.bool_]:
        """Whether each frame [n_frames] has bands that float32 cannot resolve, and that are above `floor`."""
        resolved = power @ self.share_resolved
        return np.any((mel * self.per_gain < resolved[:, None]) & (mel > 0.9 * floor), axis=1)
