"""Sound as overlapping windows, and their power spectra: in blocks that join to those of the whole."""

from collections.abc import Iterable, Iterator
from itertools import chain
from typing import TypeVar

import ducc0
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import as_strided

Samples = npt.NDArray[np.float32]
"""Mono sound [n_samples]; full scale is 1."""
Frames = npt.NDArray[np.float32]
"""Values [n_frames, n_bins]."""
FAINTEST = 1e-10
"""The least power, -100 dB, as in librosa.power_to_db."""

F = TypeVar("F", np.float32, np.float64)

BATCH_VALUES = 1 << 19
"""Samples of the windows handled at once: 2 MB."""
CACHE_BYTES = 1 << 20
"""Of windows transformed at once. Measured for 640 windows of 2560: 4.0 ms with 1 MB, 4.3 with 0.5, 4.6 with 0.25."""
BUFFER_VALUES = 512
"""Of numpy's buffer for an operation. Windowing 640 windows of 2560 takes 0.2 to 0.3 ms with it, and 0.5 to 0.7 with
numpy's own, of 8192 values; 1024 and 512 samples gain less, 256 nothing."""
AT_ONCE = 4
"""float32 windows given to ducc0 in one call, which is one SIMD vector. With more, 96 windows of 2560 take 277 instead
of 240 us, and of 2048 375 instead of 219; in float64 all at once are fastest."""


def windows(blocks: Iterable[Samples], n_fft: int, hop_samples: int, centre: bool = True) -> Iterator[Frames]:
    """Yield views [n_windows, n_fft] of the sound, in batches that do not depend on the size of the blocks.

    `centre` puts window i around sample i * hop_samples, with zeros beyond the ends, as librosa does; otherwise it
    begins there, and a sound shorter than a window is filled up with zeros.
    """
    for samples in stretches(blocks, n_fft, hop_samples, centre, AT_ONCE * max(1, BATCH_VALUES // (AT_ONCE * n_fft))):
        yield _windows_of(samples, n_fft, hop_samples)


def stretches(
    blocks: Iterable[Samples], n_fft: int, hop_samples: int, centre: bool, n_windows: int
) -> Iterator[Samples]:
    """Yield the samples of `n_windows` windows at a time, and at the end of those that are left."""
    reach, stride = n_fft + (n_windows - 1) * hop_samples, n_windows * hop_samples
    half = np.zeros(n_fft // 2 if centre else 0, np.float32)
    waiting, any_yet = half, False
    for block in chain(blocks, [half]):
        waiting = np.concatenate([waiting, block])
        while len(waiting) >= max(reach, stride):
            yield waiting[:reach]
            waiting, any_yet = waiting[stride:], True
    if not any_yet:
        waiting = np.pad(waiting, (0, max(0, n_fft - len(waiting))))
    if len(waiting) >= n_fft:
        yield waiting


def _windows_of(samples: npt.NDArray[F], n_fft: int, hop_samples: int) -> npt.NDArray[F]:
    """Windows of contiguous samples as a view; numpy's sliding_window_view takes 17 us where this takes 1."""
    n_windows, size = 1 + (len(samples) - n_fft) // hop_samples, samples.itemsize
    return np.ndarray((n_windows, n_fft), samples.dtype, samples, strides=(size * hop_samples, size))


def _in_float64(view: Frames) -> npt.NDArray[np.float64]:
    """Windows of contiguous samples, of which each is converted once, and not once a window it is in."""
    n_fft, hop_samples = view.shape[1], view.strides[0] // view.itemsize
    n_samples = n_fft + (len(view) - 1) * hop_samples
    samples = as_strided(view, (n_samples,), view.strides[1:])
    return _windows_of(samples.astype(np.float64), n_fft, hop_samples)


def hann(n_fft: int) -> npt.NDArray[np.float64]:
    """The periodic Hann window; importing scipy.signal for it would take a second."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def power_spectra(view: npt.NDArray[F], window: npt.NDArray[F]) -> Frames:
    """Windows of sound [n_windows, n_fft] → power [n_windows, n_fft // 2 + 1], transformed in the precision of both."""
    n_fft, n_bins = len(window), len(window) // 2 + 1
    power = np.empty((len(view), n_bins), np.float32)
    step = min(len(view), AT_ONCE * max(1, CACHE_BYTES // (AT_ONCE * n_fft * window.itemsize)))
    windowed = np.empty((step, n_fft), window.dtype)
    spectra = np.empty((step, n_bins), np.result_type(window, np.complex64))
    values = spectra.view(window.dtype)  # real, imaginary, real, ...
    rounded = values if window.dtype == np.float32 else np.empty(values.shape, np.float32)
    at_once = AT_ONCE if window.dtype == np.float32 else step
    with np.errstate():  # which limits what setbufsize sets
        np.setbufsize(BUFFER_VALUES)
        for start in range(0, len(view), step):
            n = min(step, len(view) - start)
            np.multiply(view[start : start + n], window, out=windowed[:n])
            for at in range(0, n, at_once):
                some = slice(at, min(at + at_once, n))
                ducc0.fft.r2c(windowed[some], axes=(1,), out=spectra[some], nthreads=1)
            if rounded is not values:
                np.copyto(rounded[:n], values[:n], casting="same_kind")
            parts = np.square(rounded[:n], out=rounded[:n])
            np.add(parts[:, ::2], parts[:, 1::2], out=power[start : start + n])
    return power


def power_to_db(power: Frames) -> Frames:
    """Power → dB, in place. np.log takes a sixth of the time of np.log10."""
    np.maximum(power, FAINTEST, out=power)
    np.log(power, out=power)
    power *= np.float32(10 / np.log(10))
    return power
