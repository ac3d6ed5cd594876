"""Fixed-length inputs for simple models, from a few seconds of recordings of any length: samples and spectra.

They do not come from the store, so that every recipe has the same baselines.
"""

from collections.abc import Iterable

import numpy as np

from preprocess.audio.clip_audio import ClipAudio, take_samples
from preprocess.frames.framing import Samples
from recipe import Features

INPUT_SIZES = {"samples": 4096, "fft": 1024, "spectrogram": 64 * 32, "centroid": 2, "bandwidth": 2}
"""Values of each input, by its name."""
N_MELS, N_TIME_BINS = 64, 32
MAX_READ_S = 120.0
"""An excerpt is the middle of at most so much of a recording, which bounds the memory."""
MIN_SAMPLES = 256
"""Samples of an excerpt."""
WINDOW_S = 0.0465
TOP_DB = 80.0


def read_inputs(path: str, features: Features, seconds: float) -> dict[str, np.ndarray]:
    """The inputs of `seconds` amid a recording, trimmed as the recipe says. Raises DecodeError."""
    n_samples = max(round(seconds * features.sample_rate_hz), MIN_SAMPLES)
    sound = extract_excerpt(ClipAudio(path, features), n_samples, features.sample_rate_hz)
    return compute_inputs(sound, features.sample_rate_hz)


def extract_excerpt(blocks: Iterable[Samples], n_samples: int, sample_rate_hz: int) -> Samples:
    """The middle float32 [n_samples] of the first MAX_READ_S of a sound; one that is shorter is repeated."""
    sound = np.concatenate(list(take_samples(blocks, round(MAX_READ_S * sample_rate_hz))))
    start = max(0, (len(sound) - n_samples) // 2)
    return np.resize(sound[start : start + n_samples], n_samples)


def compute_inputs(sound: Samples, sample_rate_hz: int) -> dict[str, np.ndarray]:
    """Each input of INPUT_SIZES, float32 [its size], of a sound [n_samples].

    `samples`: the sound, resampled. `fft`: dB of its whole spectrum, in even bands. `spectrogram`: dB of mel bands by
    time. `centroid`, `bandwidth`: the mean and the deviation over time of the spectral centroid or bandwidth, in Hz.
    """
    import librosa  # takes seconds, in each process once

    spectrum = np.fft.rfft(sound)
    n_fft = min(2 ** round(np.log2(WINDOW_S * sample_rate_hz)), len(sound))
    magnitude = np.abs(librosa.stft(sound, n_fft=n_fft, hop_length=max(n_fft // 4, 1)))
    mel = librosa.feature.melspectrogram(S=magnitude**2, sr=sample_rate_hz, n_fft=n_fft, n_mels=N_MELS)
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=sample_rate_hz)
    bandwidth = librosa.feature.spectral_bandwidth(S=magnitude, sr=sample_rate_hz, centroid=centroid)
    n_samples = INPUT_SIZES["samples"]
    values = {
        "samples": np.fft.irfft(spectrum[: n_samples // 2 + 1], n_samples) * (n_samples / len(sound)),
        "fft": librosa.power_to_db(_mean_over_bands(np.abs(spectrum) ** 2, INPUT_SIZES["fft"]), top_db=TOP_DB),
        "spectrogram": _mean_over_bands(librosa.power_to_db(mel, top_db=TOP_DB), N_TIME_BINS).ravel(),
        "centroid": np.array([centroid.mean(), centroid.std()]),
        "bandwidth": np.array([bandwidth.mean(), bandwidth.std()]),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def _mean_over_bands(values: np.ndarray, n: int) -> np.ndarray:
    """Means over `n` even parts of the last axis; of fewer values than parts, the nearest."""
    edges = np.linspace(0, values.shape[-1], n + 1).astype(int)
    return np.add.reduceat(values, edges[:-1], axis=-1) / np.maximum(np.diff(edges), 1)
