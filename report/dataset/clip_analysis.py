"""The beginning of a recording as the page of make survey shows it, computed in a sandbox."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from preprocess.frames import compute_frames
from preprocess.frames.framing import Frames, Samples
from recipe import Features
from report.media.preview import MP3_RATE_HZ, encode_mp3, read_beginning

ANALYSIS_S = 5.0
N_POINTS = 60
"""Most points in time of a centroid."""


@dataclass(frozen=True)
class ClipAnalysis:
    """The first ANALYSIS_S of a recording."""

    mp3: bytes
    samples: Samples
    """At the recipe's rate."""
    frames: Frames
    """[n_frames, n_bins] as networks get them; of a waveform its log-mel spectrogram."""
    time_s: npt.NDArray[np.float64]
    """[n_points], of the following."""
    centroid_hz: npt.NDArray[np.float64]
    """NaN in digital silence, which has none."""
    bandwidth_hz: npt.NDArray[np.float64]


def analyse_clip(path: str, features: Features) -> ClipAnalysis:
    """Read and analyse a recording; `features` are those of spectrograms. Raises DecodeError."""
    samples = read_beginning(path, features.sample_rate_hz, ANALYSIS_S, features.channel)
    mp3 = encode_mp3(read_beginning(path, MP3_RATE_HZ, ANALYSIS_S, features.channel))
    return ClipAnalysis(mp3, samples, compute_frames(samples, features), *compute_centroid(samples, features))


def compute_centroid(samples: Samples, features: Features) -> tuple[npt.NDArray[np.float64], ...]:
    """Times in s, spectral centroids and bandwidths in Hz, each [at most about N_POINTS], of a sound."""
    import librosa  # takes seconds, in each process once

    n_fft, sample_rate_hz = features.n_fft, features.sample_rate_hz
    hop_length = max(n_fft // 4, len(samples) // N_POINTS, 1)
    padded = np.pad(samples, (0, max(0, n_fft - len(samples))))  # librosa warns of a sound shorter than a window
    magnitude = np.abs(librosa.stft(padded, n_fft=n_fft, hop_length=hop_length))
    centroid = librosa.feature.spectral_centroid(S=magnitude, sr=sample_rate_hz)
    bandwidth = librosa.feature.spectral_bandwidth(S=magnitude, sr=sample_rate_hz, centroid=centroid)
    time_s = librosa.frames_to_time(np.arange(magnitude.shape[1]), sr=sample_rate_hz, hop_length=hop_length)
    is_silent = ~magnitude.any(axis=0)
    return time_s, *(np.where(is_silent, np.nan, values[0]) for values in (centroid, bandwidth))


def mean_spectrum(path: str, features: Features) -> npt.NDArray[np.float32]:
    """The mean frame [n_bins] of the beginning of a recording. Raises DecodeError."""
    samples = read_beginning(path, features.sample_rate_hz, ANALYSIS_S, features.channel)
    return np.asarray(compute_frames(samples, features).mean(axis=0))
