"""Pictures of samples show their log-mel spectrogram; other frames are shown as they are."""

import numpy as np
import pytest

from preprocess.frames import compute_frames
from recipe import Features
from report.media.spectrogram import spectrogram, spectrogram_features


@pytest.mark.parametrize("n_samples", [1, 172])
def test_samples_are_shown_by_mel_bands(n_samples: int) -> None:
    features = Features(kind="waveform", sample_rate_hz=22_050, n_bins=n_samples, storage="int16")
    sound = np.sin(2 * np.pi * 2_000 * np.arange(172 * 100) / 22_050).astype(np.float32)
    shown = spectrogram(compute_frames(sound, features), features)
    logmel = spectrogram_features(features)
    np.testing.assert_allclose(shown, compute_frames(sound, logmel), atol=1e-3)
    assert logmel.kind == "logmel" and shown.shape[1] == logmel.n_bins


def test_spectrograms_are_shown_as_they_are() -> None:
    frames = np.random.default_rng(0).normal(size=(20, 128)).astype(np.float32)
    assert spectrogram(frames, Features()) is frames
