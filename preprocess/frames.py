"""Mono sound → frames [n_frames, n_bins]: log-mel, in blocks that join to the frames of the whole."""

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy.signal.windows import hann

from preprocess.decode import Samples
from preprocess.mel import apply_filters, mel_filters, split_filters
from recipe import Features

Frames = npt.NDArray[np.float32]
"""[n_frames, n_bins]."""

FAINTEST = 1e-10
"""The least power, -100 dB, as in librosa.power_to_db."""
BATCH_VALUES = 1 << 18
"""Samples transformed at once: 1 MB, to stay in a core's cache."""


def windows(
    blocks: Iterable[Samples], n_fft: int, hop_samples: int, centre: bool = True
) -> Iterator[npt.NDArray[np.float32]]:
    """Yield views [n_windows, n_fft] of the sound, in batches that do not depend on the size of the blocks.

    `centre` puts window i around sample i * hop_samples, with zeros beyond the ends, as librosa does.
    """
    n_windows = max(1, BATCH_VALUES // n_fft)
    reach, stride = n_fft + (n_windows - 1) * hop_samples, n_windows * hop_samples
    half = np.zeros(n_fft // 2 if centre else 0, np.float32)
    waiting, any_yet = half, False
    for block in chain(blocks, [half]):
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= max(reach, stride):
            yield _strided(waiting[:reach], n_fft, hop_samples)
            waiting, any_yet = waiting[stride:], True
    if not any_yet:
        waiting = np.pad(waiting, (0, max(0, n_fft - len(waiting))))
    if len(waiting) >= n_fft:
        yield _strided(waiting, n_fft, hop_samples)


def _strided(samples: Samples, n_fft: int, hop_samples: int) -> npt.NDArray[np.float32]:
    return np.lib.stride_tricks.sliding_window_view(samples, n_fft)[::hop_samples]


def power_to_db(power: Frames) -> Frames:
    """Power → dB, in place. np.log takes a sixth of the time of np.log10."""
    np.maximum(power, FAINTEST, out=power)
    np.log(power, out=power)
    power *= np.float32(10 / np.log(10))
    return power


class LogMel:
    """`librosa.feature.melspectrogram` and `power_to_db`, to 1e-3 dB, in a third of their time."""

    def __init__(self, features: Features) -> None:
        self.features = features
        self.window = hann(features.n_fft, sym=False).astype(np.float32)
        fmax_hz = features.fmax_hz or features.rate_hz / 2
        self.bands = split_filters(
            mel_filters(features.rate_hz, features.n_fft, features.n_bins, features.fmin_hz, fmax_hz)
        )

    def __call__(self, blocks: Iterable[Samples]) -> Iterator[Frames]:
        """Yield the frames [n_frames, n_bins], in dB, of blocks of sound."""
        for view in windows(blocks, self.features.n_fft, self.features.hop_samples):
            yield power_to_db(apply_filters(self.power(view), self.bands))

    def power(self, view: npt.NDArray[np.float32]) -> Frames:
        """Windows [n_windows, n_fft] → power spectra [n_windows, n_fft // 2 + 1]."""
        spectra = scipy.fft.rfft(view * self.window, workers=1)
        power = np.square(spectra.real)
        power += np.square(spectra.imag)
        return power
