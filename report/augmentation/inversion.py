"""Sound from frames, by Griffin-Lim: what a page plays of what a network gets."""

from importlib.metadata import version
from typing import Any

import numpy as np
import soxr

from preprocess.frames.filterbank import mel_filterbank
from preprocess.frames.framing import Frames, Samples
from preprocess.frames.stft import resize_weights
from recipe import Features
from report.media.preview import AUDIO_S, MP3_RATE_HZ, encode_mp3

N_ITERATIONS = 16
CHROMA_HZ, CHROMA_PEAK = 261.626, 0.3
"""Where chroma, which have no octave and no level, are played: from C4 on."""


def encode_frames(index: int, frames: Frames, features: Features) -> tuple[int, bytes]:
    """`index`, and the first AUDIO_S of frames [n_frames, n_bins] as MP3."""
    sound = invert_frames(frames, features)[: round(AUDIO_S * features.sample_rate_hz)]
    return index, encode_mp3(soxr.resample(sound, features.sample_rate_hz, MP3_RATE_HZ))


def invert_frames(frames: Frames, features: Features) -> Samples:
    """A sound float32 [n_samples] at the recipe's rate whose frames are about these.

    Frames of fewer bins than the recipe's, averaged, are spread over all.
    """
    if features.kind == "waveform":
        return frames.ravel()
    import librosa  # takes seconds, in each process once

    seed: dict[str, Any] = {"random_state" if version("librosa") < "1" else "rng": 0}
    bins = frames.T[np.arange(features.n_bins) * frames.shape[1] // features.n_bins]
    if features.kind in ("cqt", "cqt_chroma"):
        is_chroma = features.kind == "cqt_chroma"
        sound = librosa.griffinlim_cqt(
            bins.clip(0) if is_chroma else librosa.db_to_amplitude(bins),
            n_iter=N_ITERATIONS,
            sr=features.sample_rate_hz,
            hop_length=features.hop_length,
            fmin=CHROMA_HZ if is_chroma else features.fmin_hz,
            bins_per_octave=features.n_bins if is_chroma else features.bins_per_octave,
            **seed,
        )
        return sound * (CHROMA_PEAK / max(np.abs(sound).max(), 1e-9)) if is_chroma else sound
    spectrum = _mel_to_stft(bins, features) if features.kind == "logmel" else _resized_to_stft(bins, features)
    return np.asarray(
        librosa.griffinlim(
            spectrum,
            n_iter=N_ITERATIONS,
            hop_length=features.hop_length,
            n_fft=features.n_fft,
            center=features.center,
            **seed,
        )
    )


def _mel_to_stft(mel_db: Frames, features: Features) -> Frames:
    """Magnitudes [1 + n_fft / 2, n_frames] from mel bands in dB [n_bins, n_frames]: each bin the mean of its bands.

    The least squares of librosa.feature.inverse.mel_to_stft take ten times as long.
    """
    filters = mel_filterbank(features)
    mean_power = 10 ** (mel_db / 10) / np.maximum(filters.sum(axis=1), 1e-9)[:, None]
    return np.asarray(np.sqrt(filters.T @ mean_power / np.maximum(filters.sum(axis=0), 1e-9)[:, None]))


def _resized_to_stft(resized_db: Frames, features: Features) -> Frames:
    """Magnitudes [1 + n_fft / 2, n_frames] from a resized spectrum in dB [n_bins, n_resized_frames]."""
    import librosa

    n_bins, n_frames = resized_db.shape
    hops_per_second = features.sample_rate_hz / features.hop_length
    n_hops = max(1, round(n_frames * hops_per_second / (features.frames_per_second or hops_per_second)))
    spectrum_db = resize_weights(n_bins, features.n_fft // 2 + 1) @ resized_db @ resize_weights(n_frames, n_hops).T
    return np.asarray(librosa.db_to_amplitude(spectrum_db))
