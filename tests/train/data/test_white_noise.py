"""What `noise` adds to spectrograms is white noise: as librosa, and as our own transforms, see it."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import torch
import yaml

from preprocess.frames import compute_frames
from recipe import Features
from train.augment.gain_noise import add_noise
from train.data.random_streams import seeded_generator
from train.data.white_noise import white_noise_power

RECIPES = Path(__file__).parent.parent.parent.parent / "recipes"
FEATURES = {
    **{path.stem: Features(**yaml.safe_load(path.read_text())["features"]) for path in sorted(RECIPES.glob("*.yaml"))},
    "narrow bands": Features(sample_rate_hz=44_100, n_fft=1024, hop_length=345, n_bins=128, mel_scale="htk"),
    "cqt": Features(kind="cqt", sample_rate_hz=22_050, hop_length=512, n_bins=60, fmin_hz=65.4),
}
SPECTRA = [name for name, features in FEATURES.items() if features.kind in ("logmel", "stft", "cqt")]


def real_noise(features: Features, seconds: float = 40.0) -> np.ndarray:
    """dB of white noise [n_frames, n_bins], by librosa alone for log-mel, without the frames at both ends."""
    sound = np.random.default_rng(5).standard_normal(round(seconds * features.sample_rate_hz)).astype(np.float32)
    if features.kind == "logmel":
        power = librosa.feature.melspectrogram(
            y=sound,
            sr=features.sample_rate_hz,
            n_fft=features.n_fft,
            hop_length=features.hop_length,
            n_mels=features.n_bins,
            fmin=features.fmin_hz,
            fmax=features.fmax_hz,
            htk=features.mel_scale == "htk",
        )
        frames = librosa.power_to_db(power, top_db=None).T
    else:
        frames = compute_frames(sound, features)
    return frames[len(frames) // 20 : -len(frames) // 20]


@pytest.mark.parametrize("name", SPECTRA)
def test_added_noise_has_the_mean_and_deviation_of_white_noise_in_each_bin(name: str) -> None:
    features = FEATURES[name]
    noise_power = white_noise_power(features, features.n_bins, seeded_generator("cpu", "test", 1))
    x = torch.full((40, 300, features.n_bins), -60.0)
    noisy, _ = add_noise(x, x[:, 0], seeded_generator("cpu", "test", 2), snr_db=(-60, -60), noise_power=noise_power)
    added, real = (
        10 ** (each.astype(np.float64).reshape(-1, features.n_bins) / 10)
        for each in (noisy.numpy(), real_noise(features))
    )
    deviation, expected = (each.std(0) / each.mean(0) for each in (added, real))
    real_level = real.mean(0) / real.mean()
    # 30 s hold a few hundred independent values of a narrow band: a mean to some 5 %, a deviation to some 10 %.
    np.testing.assert_allclose(added.mean(0) / added.mean(), real_level, rtol=0.3)
    np.testing.assert_allclose(deviation, expected, rtol=0.35, atol=0.02)
    assert np.corrcoef(deviation, expected)[0, 1] > 0.9 or np.ptp(expected) < 0.2
    assert 10 * np.log10(added.mean()) == pytest.approx(0, abs=0.5), "60 dB above the clip's -60 dB"


def test_wide_bands_deviate_less_than_narrow_ones() -> None:
    """An exponential distribution, of deviation 1 in every band, is no white noise in log-mel."""
    features = Features(sample_rate_hz=44_100, n_fft=2560, hop_length=345, n_bins=128)
    noise_power = white_noise_power(features, 128, seeded_generator("cpu", "test", 1))
    assert noise_power is not None
    deviation = (noise_power.std(0) / noise_power.mean(0)).numpy()
    assert 0.65 < deviation[:10].mean() < 0.95
    assert 0.1 < deviation[-10:].mean() < 0.3


def test_noise_of_fewer_bins_is_averaged_as_crops_are() -> None:
    features = FEATURES["demo"]
    n_bins = (features.n_bins, features.n_bins // 2)
    full, half = (white_noise_power(features, n, seeded_generator("cpu", "test", 1)) for n in n_bins)
    assert full is not None and half is not None
    averaged = 10 ** (full.log10().view(len(full), -1, 2).mean(-1))
    torch.testing.assert_close(half, averaged / averaged.mean(), rtol=1e-4, atol=1e-6)


def test_samples_need_no_spectrogram() -> None:
    assert white_noise_power(FEATURES["esc50_waveform"], 1, seeded_generator("cpu", "test", 1)) is None
