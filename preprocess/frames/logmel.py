"""Log-mel spectrograms, as librosa defines them."""

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from preprocess.frames.filterbank import apply_filters, filters_of, split_filters
from preprocess.frames.framing import FAINTEST, Frames, Samples, _in_float64, hann, power_spectra, power_to_db, windows
from recipe import Features

PRECISE_DB = 100.0
"""A top_db from which on float64 alone is faster: a quarter of ESC-10's frames would be computed again in it."""
RESOLVED = 3e-6
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
        filters = filters_of(features)
        self.bands = split_filters(filters)
        self.per_gain = 1 / np.maximum(filters.sum(axis=1), np.finfo(np.float32).tiny)
        self.share_resolved = np.full(filters.shape[1], RESOLVED / filters.shape[1], np.float32)

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        features, floor = self.features, FAINTEST
        for view in windows(blocks, features.n_fft, features.hop_samples, features.centre):
            if self.precise:
                mel = self._mel_in_float64(_in_float64(view))
            else:
                power = power_spectra(view, self.window)
                mel = apply_filters(power, self.bands)
                floor = max(floor, float(mel.max()) * self.share_kept)
                drowned = self._drowned(power, mel, floor)
                if drowned.any():
                    mel[drowned] = self._mel_in_float64(_in_float64(view)[drowned])
            yield power_to_db(mel)

    def _mel_in_float64(self, view: npt.NDArray[np.float64]) -> Frames:
        return apply_filters(power_spectra(view, self.window64), self.bands)

    def _drowned(self, power: Frames, mel: Frames, floor: float) -> npt.NDArray[np.bool_]:
        """Whether each frame [n_frames] has bands that float32 cannot resolve, and that are above `floor`."""
        resolved = power @ self.share_resolved
        return np.any((mel * self.per_gain < resolved[:, None]) & (mel > 0.9 * floor), axis=1)
