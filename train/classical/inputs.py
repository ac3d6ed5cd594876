"""Fixed-length inputs for simple models, out of recordings of any length: samples, spectra and their centres.

librosa's, for a few seconds of each recording; the store's frames stay out of it, so that a recipe of any features has
the same baselines.
"""

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import Recording
from preprocess.audio.trimming import beginning
from preprocess.audio.watchdog import watched
from preprocess.frames.framing import Samples
from recipe import Features

Values = npt.NDArray[np.float32]

SIZES = {"samples": 4096, "fft": 1024, "spectrogram": 64 * 32, "centroid_bandwidth": 4}
"""Values of each input, by its name: together 29 KB a clip."""
MELS, COLUMNS = 64, 32
HEARD_S = 120.0
"""An excerpt is the middle of at most so much of a recording, which bounds the memory."""
SHORTEST = 256
"""Samples of an excerpt."""
WINDOW_S = 0.0465
TOP_DB = 80.0


def read_inputs(path: str, features: Features, seconds: float) -> dict[str, Values] | str:
    """The inputs of `seconds` amid a recording, trimmed as the recipe says; why not, where it cannot be read."""
    try:
        n_samples = max(round(seconds * features.rate_hz), SHORTEST)
        sound = excerpt(Recording(path, features, watched), n_samples, features.rate_hz)
    except DecodeError as error:
        return error.reason
    return inputs_of(sound, features.rate_hz)


def excerpt(blocks: Iterable[Samples], n_samples: int, rate_hz: int) -> Samples:
    """The middle float32 [n_samples] of the first HEARD_S of a sound; one that is shorter is repeated."""
    sound = np.concatenate(list(beginning(blocks, round(HEARD_S * rate_hz))))
    start = max(0, (len(sound) - n_samples) // 2)
    return np.resize(sound[start : start + n_samples], n_samples)


def inputs_of(sound: Samples, rate_hz: int) -> dict[str, Values]:
    """Each input of SIZES, float32 [its size], of a sound [n_samples].

    `samples`: the sound at the rate that makes so many of them. `fft`: dB of its whole spectrum, in even bands.
    `spectrogram`: dB of mel bands by time, to TOP_DB below the highest. `centroid_bandwidth`: of each, in Hz, the mean
    and the deviation over time.
    """
    import librosa  # takes seconds, in each process once

    spectrum = np.fft.rfft(sound)
    n_fft = min(2 ** round(np.log2(WINDOW_S * rate_hz)), len(sound))
    magnitude = np.abs(librosa.stft(sound, n_fft=n_fft, hop_length=max(n_fft // 4, 1)))
    mel = librosa.feature.melspectrogram(S=magnitude**2, sr=rate_hz, n_fft=n_fft, n_mels=MELS)
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=rate_hz)
    bandwidth = librosa.feature.spectral_bandwidth(S=magnitude, sr=rate_hz, centroid=centroid)
    n_samples = SIZES["samples"]
    values = {
        "samples": np.fft.irfft(spectrum[: n_samples // 2 + 1], n_samples) * (n_samples / len(sound)),
        "fft": librosa.power_to_db(_means(np.abs(spectrum) ** 2, SIZES["fft"]), top_db=TOP_DB),
        "spectrogram": _means(librosa.power_to_db(mel, top_db=TOP_DB), COLUMNS).ravel(),
        "centroid_bandwidth": np.array([centroid.mean(), centroid.std(), bandwidth.mean(), bandwidth.std()]),
    }
    return {name: value.astype(np.float32) for name, value in values.items()}


def _means(values: npt.NDArray[np.floating], n: int) -> npt.NDArray[np.floating]:
    """Means over `n` even parts of the last axis; of fewer values than parts, the nearest."""
    edges = np.linspace(0, values.shape[-1], n + 1).astype(int)
    return np.add.reduceat(values, edges[:-1], axis=-1) / np.maximum(np.diff(edges), 1)
