"""Sound → overlapping windows → power spectra → bands and dB, in batches that join to those of the whole sound."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import ducc0
import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

Samples = npt.NDArray[np.float32]
"""Mono sound [n_samples]; full scale is 1."""
Windows = npt.NDArray[np.float32]
"""Overlapping windows of sound [n_windows, n_fft]."""
Frames = npt.NDArray[np.float32]
"""Values [n_frames, n_bins]."""
MIN_POWER = 1e-10
"""The least power, -100 dB, as in librosa.power_to_db."""

BANDS_PER_BLOCK = 16
"""Bands of one matrix product: fewer make more calls, more multiply more zeros."""
BATCH_VALUES = 1 << 19
"""Samples in the windows of a batch."""
FFT_BYTES, SIMD_LANES = 1 << 18, 8
"""Bytes of the windows of one FFT call, which stay in a core's cache with their spectra, and windows that it transforms
at once: float32 in registers of 256 bits."""


def iter_windows(blocks: Iterable[Samples], n_fft: int, hop_length: int, center: bool = True) -> Iterator[Windows]:
    """Yield views [n_windows, n_fft] of the sound, in batches that do not depend on the size of the blocks.

    `center` puts window i around sample i * hop_length, with zeros beyond the ends, as librosa does; otherwise the
    window begins there, and zeros fill up a sound shorter than a window.
    """
    n_windows = max(1, BATCH_VALUES // n_fft)
    n_needed, stride = n_fft + (n_windows - 1) * hop_length, n_windows * hop_length
    half = np.zeros(n_fft // 2 if center else 0, np.float32)
    pending, any_yielded = half, False
    for block in chain(blocks, [half]):
        pending = np.concatenate([pending, block])
        while len(pending) >= max(n_needed, stride):
            yield sliding_window_view(pending[:n_needed], n_fft)[::hop_length]
            pending, any_yielded = pending[stride:], True
    if not any_yielded:
        pending = np.pad(pending, (0, max(0, n_fft - len(pending))))
    if len(pending) >= n_fft:
        yield sliding_window_view(pending, n_fft)[::hop_length]


def power_spectra(windows: Windows, taper: npt.NDArray[np.floating]) -> Frames:
    """Windows [n_windows, n_fft] times `taper` [n_fft] → power [n_windows, n_fft // 2 + 1].

    The FFT is in the taper's precision; from float64 its result becomes complex64, as in librosa.stft.
    """
    n_bins = len(taper) // 2 + 1
    power = np.empty((len(windows), n_bins), np.float32)
    step = max(1, FFT_BYTES // taper.nbytes // SIMD_LANES) * SIMD_LANES
    tapered = np.empty((min(step, len(windows)), len(taper)), taper.dtype)  # one memory for all calls
    spectra = np.empty((len(tapered), n_bins), np.result_type(taper.dtype, np.complex64))
    for start in range(0, len(windows), step):
        batch, out = windows[start : start + step], power[start : start + step]
        np.multiply(batch, taper, out=tapered[: len(batch)])
        ducc0.fft.r2c(tapered[: len(batch)], axes=(1,), nthreads=1, out=spectra[: len(batch)])
        np.abs(spectra[: len(batch)].astype(np.complex64, copy=False), out=out)
        np.square(out, out=out)
    return power


@dataclass(frozen=True)
class FilterBlock:
    """Some neighbouring rows of a filterbank, without the columns in which they are all zero."""

    rows: slice
    columns: slice
    weights: Frames
    """[n_columns, n_rows]."""


def split_filterbank(filters: Frames) -> list[FilterBlock]:
    """Cut a filterbank [n_bands, n_bins] into groups of BANDS_PER_BLOCK rows."""
    filter_blocks = []
    for start in range(0, len(filters), BANDS_PER_BLOCK):
        rows = slice(start, min(start + BANDS_PER_BLOCK, len(filters)))
        used = np.flatnonzero(filters[rows].any(axis=0))
        columns = slice(int(used[0]), int(used[-1]) + 1) if len(used) else slice(0, 1)
        filter_blocks.append(FilterBlock(rows, columns, np.ascontiguousarray(filters[rows, columns].T)))
    return filter_blocks


def apply_filterbank(power: Frames, filter_blocks: list[FilterBlock]) -> Frames:
    """Spectra [n_frames, n_bins] times a filterbank → [n_frames, n_bands]."""
    out = np.empty((len(power), filter_blocks[-1].rows.stop), np.float32)
    for block in filter_blocks:
        np.matmul(power[:, block.columns], block.weights, out=out[:, block.rows])
    return out


def power_to_db(power: Frames) -> Frames:
    """Power → dB, in place. numpy vectorises log, and not log10."""
    np.maximum(power, MIN_POWER, out=power)
    np.log(power, out=power)
    power *= np.float32(10 / np.log(10))
    return power
