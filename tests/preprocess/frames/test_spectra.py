"""Log-mel and STFT against librosa and naive loops; blocks against the whole."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from preprocess.frames import build_transform, compute_frames
from preprocess.frames.framing import Frames, Samples, iter_windows
from recipe import Features


def sound(n_samples: int, seed: int = 0) -> Samples:
    """Noise whose level swells and fades, under a gliding tone."""
    time = np.arange(n_samples) / max(1, n_samples)
    noise = np.random.default_rng(seed).standard_normal(n_samples) * 10 ** (-3 * np.abs(np.sin(7 * time)))
    return (0.1 * noise + 0.3 * np.sin(2 * np.pi * 400 * time * (1 + time))).astype(np.float32)


def blocks_of(samples: Samples, sizes: list[int]) -> Iterator[Samples]:
    """The sound in blocks of these sizes, in turn."""
    at = 0
    for turn in range(len(samples) + 1):
        if at < len(samples):
            yield samples[at : (at := at + sizes[turn % len(sizes)])]


def librosa_logmel(samples: Samples, features: Features) -> Frames:
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=features.sample_rate_hz,
        n_fft=features.n_fft,
        hop_length=features.hop_length,
        n_mels=features.n_bins,
        fmin=features.fmin_hz,
        fmax=features.fmax_hz,
        center=features.center,
        htk=features.mel_scale == "htk",
    )
    return np.asarray(librosa.power_to_db(power, top_db=None)).T


def logmel(**keys: object) -> Features:
    return Features(**{"sample_rate_hz": 22_050, "n_fft": 1024, "hop_length": 256, "n_bins": 64, **keys})  # type: ignore[arg-type]


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("top_db", [None, 80.0])
@pytest.mark.parametrize(
    "features",
    [
        logmel(),
        logmel(sample_rate_hz=44_100, n_fft=2560, hop_length=345, n_bins=128),
        logmel(sample_rate_hz=44_100, n_fft=2048, hop_length=690, n_bins=128, fmin_hz=20.0),
        logmel(sample_rate_hz=8_000, n_fft=256, hop_length=80, n_bins=20, fmin_hz=0.0),
        logmel(sample_rate_hz=48_000, n_fft=4096, hop_length=4800, n_bins=256, fmax_hz=16_000.0),
        logmel(mel_scale="htk"),
        logmel(mel_scale="htk", fmin_hz=300.0, fmax_hz=3_400.0),
        logmel(center=False),
        logmel(n_fft=1023, hop_length=1),
        logmel(n_fft=1023, hop_length=100, center=False),
        logmel(n_fft=512, hop_length=2000),
        logmel(n_bins=1),
        logmel(n_fft=16, hop_length=8, n_bins=4),
    ],
    ids=str,
)
def test_logmel_is_librosas(features: Features, top_db: float | None) -> None:
    samples = sound(6_000 if features.hop_length == 1 else 40_000)
    frames, expected = compute_frames(samples, replace(features, top_db=top_db)), librosa_logmel(samples, features)
    assert frames.dtype == np.float32
    floor = expected.max() - (top_db or np.inf)
    np.testing.assert_allclose(np.maximum(frames, floor), np.maximum(expected, floor), atol=1e-3)


@pytest.mark.parametrize(("top_db", "faintness"), [(None, 1e-6), (120.0, 1e-6), (95.0, 1e-5)])
def test_bands_far_below_the_loudest_are_librosas(top_db: float | None, faintness: float) -> None:
    """A loud glide below 3 kHz over noise of a millionth of its amplitude, as a lossy codec leaves it."""
    time, random = np.arange(400_000) / 400_000, np.random.default_rng(1)  # several batches of windows
    glide = np.sin(2 * np.pi * 400_000 * (0.02 + 0.05 * time) * time)
    samples = (glide + faintness * random.standard_normal(400_000)).astype(np.float32)
    samples[40_000:160_000] += 0.1 * random.standard_normal(120_000).astype(np.float32)
    features = logmel(top_db=top_db)
    frames, expected = compute_frames(samples, features), librosa_logmel(samples, features)
    floor = expected.max() - (top_db or np.inf)
    np.testing.assert_allclose(np.maximum(frames, floor), np.maximum(expected, floor), atol=1e-3)


@given(
    n_samples=st.integers(1, 30_000),
    n_fft=st.integers(16, 3_000),
    hop_length=st.integers(1, 4_000),
    center=st.booleans(),
    sizes=st.lists(st.integers(1, 9_000), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=60)
def test_windows_of_blocks_are_those_of_the_whole(
    n_samples: int, n_fft: int, hop_length: int, center: bool, sizes: list[int]
) -> None:
    n_samples, sizes = (n_samples, sizes) if hop_length > 50 else (min(n_samples, 2_000), sizes)
    samples = sound(n_samples)
    got = np.concatenate(
        list(iter_windows(blocks_of(samples, [size + n_samples // 20 for size in sizes]), n_fft, hop_length, center))
    )
    padded = np.pad(samples, n_fft // 2) if center else np.pad(samples, (0, max(0, n_fft - n_samples)))
    starts = range(0, len(padded) - n_fft + 1, hop_length)
    np.testing.assert_array_equal(got, [padded[start : start + n_fft] for start in starts])


@pytest.mark.parametrize(
    "features",
    [
        logmel(),
        logmel(center=False, hop_length=1500),
        Features(kind="stft", sample_rate_hz=22_050, n_fft=1024, hop_length=212, n_bins=256, frames_per_second=52.0),
        Features(kind="stft", sample_rate_hz=22_050, n_fft=512, hop_length=500, n_bins=100, frames_per_second=90.0),
        Features(kind="waveform", sample_rate_hz=22_050, n_bins=160, storage="int16"),
    ],
    ids=str,
)
def test_frames_of_blocks_are_bit_identical_to_those_of_the_whole(features: Features) -> None:
    samples = sound(300_000)
    whole = compute_frames(samples, features)
    for sizes in ([1 << 18], [100_000], [777, 5_000, 1, 20_000]):
        blocks = build_transform(features)(blocks_of(samples, sizes))
        np.testing.assert_array_equal(np.concatenate(list(blocks)), whole)


def test_stft_is_librosas_resized_as_an_image() -> None:
    """The instrument system's image: 256 bins x 156 frames for 3 s."""
    features = Features(
        kind="stft", sample_rate_hz=15_600, n_fft=1024, hop_length=100, n_bins=256, frames_per_second=52.0
    )
    samples = sound(3 * 15_600)[:-1]  # 468 windows, three for a frame
    spectrum = np.abs(librosa.stft(samples, n_fft=1024, hop_length=100)) ** 2
    image = torch.tensor(librosa.power_to_db(spectrum, top_db=None))[None, None]
    resized = torch.nn.functional.interpolate(image, size=(256, 156), mode="bilinear", antialias=True)
    frames = compute_frames(samples, features)
    assert frames.shape == (156, 256)
    np.testing.assert_allclose(frames, resized[0, 0].numpy().T, atol=2e-3)


def test_a_waveform_is_its_samples() -> None:
    samples = sound(1_000)
    frames = compute_frames(samples, Features(kind="waveform", sample_rate_hz=22_050, n_bins=160, storage="int16"))
    assert frames.shape == (7, 160)
    np.testing.assert_array_equal(frames.reshape(-1)[:1_000], samples)
    assert not frames.reshape(-1)[1_000:].any()


def test_silence_is_the_floor() -> None:
    np.testing.assert_allclose(compute_frames(np.zeros(5_000, np.float32), logmel()), -100, atol=1e-4)


@pytest.mark.parametrize("kind", ["waveform", "cqt_chroma"])
def test_what_has_no_decibels_has_no_floor_in_them(kind: Any) -> None:
    with pytest.raises(UserError, match=rf"features\.top_db = 60: {kind} is not in decibels"):
        Features(kind=kind, storage="int16" if kind == "waveform" else "float16", top_db=60.0)
