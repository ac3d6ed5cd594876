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
MIN_POWER = 1e-10
"""The least power, -100 dB, as in librosa.power_to_db."""

F = TypeVar("F", np.float32, np.float64)

BATCH_VALUES = 1 << 19
"""Samples of the windows handled at once: 2 MB."""
CACHE_BYTES = 1 << 20
"""Of windows transformed at once. Measured for 640 windows of 2560: 4.0 ms with 1 MB, 4.3 with 0.5, 4.6 with 0.25."""
BUFFER_VALUES = 512
"""Of numpy's buffer for an operation. Windowing 640 windows of 2560 takes 0.2 to 0.3 ms with it, and 0.5 to 0.7 with
numpy's own, of 8192 values; 1024 and 512 samples gain less, 256 nothing."""
BATCH_SIZE = 4
"""float32 windows given to ducc0 in one call, which is one SIMD vector. With more, 96 windows of 2560 take 277 instead
of 240 us, and of 2048 375 instead of 219; in float64 all at once are fastest."""


def iter_windows(blocks: Iterable[Samples], n_fft: int, hop_length: int, center: bool = True) -> Iterator[Frames]:
    """Yield views [n_windows, n_fft] of the sound, in batches that do not depend on the size of the blocks.

    `center` puts window i around sample i * hop_length, with zeros beyond the ends, as librosa does; otherwise it
    begins there, and a sound shorter than a window is filled up with zeros.
    """
    for samples in iter_sample_batches(
        blocks, n_fft, hop_length, center, BATCH_SIZE * max(1, BATCH_VALUES // (BATCH_SIZE * n_fft))
    ):
        yield _sliding_windows(samples, n_fft, hop_length)


def iter_sample_batches(
    blocks: Iterable[Samples], n_fft: int, hop_length: int, center: bool, n_windows: int
) -> Iterator[Samples]:
    """Yield the samples of `n_windows` windows at a time, and at the end of those that are left."""
    reach, stride = n_fft + (n_windows - 1) * hop_length, n_windows * hop_length
    half = np.zeros(n_fft // 2 if center else 0, np.float32)
    pending, any_yielded = half, False
    for block in chain(blocks, [half]):
        pending = np.concatenate([pending, block])
        while len(pending) >= max(reach, stride):
            yield pending[:reach]
            pending, any_yielded = pending[stride:], True
    if not any_yielded:
        pending = np.pad(pending, (0, max(0, n_fft - len(pending))))
    if len(pending) >= n_fft:
        yield pending


def _sliding_windows(samples: npt.NDArray[F], n_fft: int, hop_length: int) -> npt.NDArray[F]:
    """Windows of contiguous samples as a view; numpy's sliding_window_view takes 17 us where this takes 1."""
    n_windows, size = 1 + (len(samples) - n_fft) // hop_length, samples.itemsize
    return np.ndarray((n_windows, n_fft), samples.dtype, samples, strides=(size * hop_length, size))


def _in_float64(view: Frames) -> npt.NDArray[np.float64]:
    """Windows of contiguous samples, of which each is converted once, and not once a window it is in."""
    n_fft, hop_length = view.shape[1], view.strides[0] // view.itemsize
    n_samples = n_fft + (len(view) - 1) * hop_length
    samples = as_strided(view, (n_samples,), view.strides[1:])
    return _sliding_windows(samples.astype(np.float64), n_fft, hop_length)


def hann(n_fft: int) -> npt.NDArray[np.float64]:
    """The periodic Hann window; importing scipy.signal for it would take a second."""
    return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)


def power_spectra(view: npt.NDArray[F], window: npt.NDArray[F]) -> Frames:
    """Windows of sound [n_windows, n_fft] → power [n_windows, n_fft // 2 + 1], transformed in the precision of both."""
    n_fft, n_bins = len(window), len(window) // 2 + 1
    power = np.empty((len(view), n_bins), np.float32)
    step = min(len(view), BATCH_SIZE * max(1, CACHE_BYTES // (BATCH_SIZE * n_fft * window.itemsize)))
    windowed = np.empty((step, n_fft), window.dtype)
    spectra = np.empty((step, n_bins), np.result_type(window, np.complex64))
    values = spectra.view(window.dtype)  # real, imaginary, real, ...
    rounded = values if window.dtype == np.float32 else np.empty(values.shape, np.float32)
    batch_size = BATCH_SIZE if window.dtype == np.float32 else step
    with np.errstate():  # which limits what setbufsize sets
        np.setbufsize(BUFFER_VALUES)
        for start in range(0, len(view), step):
            n = min(step, len(view) - start)
            np.multiply(view[start : start + n], window, out=windowed[:n])
            for at in range(0, n, batch_size):
                some = slice(at, min(at + batch_size, n))
                ducc0.fft.r2c(windowed[some], axes=(1,), out=spectra[some], nthreads=1)
            if rounded is not values:
                np.copyto(rounded[:n], values[:n], casting="same_kind")
            parts = np.square(rounded[:n], out=rounded[:n])
            np.add(parts[:, ::2], parts[:, 1::2], out=power[start : start + n])
    return power


def power_to_db(power: Frames) -> Frames:
    """Power → dB, in place. np.log takes a sixth of the time of np.log10."""
    np.maximum(power, MIN_POWER, out=power)
    np.log(power, out=power)
    power *= np.float32(10 / np.log(10))
    return power
