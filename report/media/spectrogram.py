"""Spectrograms for pictures: a recipe's own frames, or log-mel where its frames are samples."""

from preprocess.frames import compute_frames
from preprocess.frames.framing import Frames
from recipe import Features


def spectrogram_features(features: Features) -> Features:
    """The features of a recipe's spectrograms: its own, and log-mel for a waveform."""
    if features.kind != "waveform":
        return features
    return Features(sample_rate_hz=features.sample_rate_hz, channel=features.channel, top_db=80.0)


def spectrogram(frames: Frames, features: Features) -> Frames:
    """The spectrogram [n_frames, n_bins] of a recipe's frames."""
    return frames if features.kind != "waveform" else compute_frames(frames.ravel(), spectrogram_features(features))
