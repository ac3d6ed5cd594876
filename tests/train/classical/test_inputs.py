"""Inputs of simple models: fixed lengths whatever the clip, and librosa's and scipy's numbers."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import soundfile

from preprocess.audio.blocks import DecodeError
from recipe import Features
from train.classical.inputs import INPUT_SIZES, MAX_READ_S, compute_inputs, extract_excerpt, read_inputs

SAMPLE_RATE_HZ = 22_050


def tone(hz: float, seconds: float) -> np.ndarray:
    time_s = np.arange(round(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    return (0.3 * np.sin(2 * np.pi * hz * time_s) + 0.01 * noise).astype(np.float32)


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0, 5.0])
def test_every_length_gives_the_same_sizes(seconds: float, recwarn: pytest.WarningsRecorder) -> None:
    inputs = compute_inputs(tone(440, seconds), SAMPLE_RATE_HZ)
    assert {name: value.shape for name, value in inputs.items()} == {
        name: (size,) for name, size in INPUT_SIZES.items()
    }
    assert all(np.isfinite(value).all() and value.dtype == np.float32 for value in inputs.values())


def test_crops_of_a_sample_have_inputs(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(440, 0.5), SAMPLE_RATE_HZ)
    inputs = read_inputs(str(tmp_path / "a.wav"), Features(sample_rate_hz=16_000, fmax_hz=None), 0.001)
    assert all(np.isfinite(value).all() for value in inputs.values())


def test_samples_are_the_sound_at_a_lower_rate() -> None:
    sound = tone(100, 1.0)
    np.testing.assert_allclose(
        compute_inputs(sound, SAMPLE_RATE_HZ)["samples"],
        scipy.signal.resample(sound, INPUT_SIZES["samples"]),
        atol=1e-5,
    )


def test_a_tone_stands_in_its_band_of_the_spectrum() -> None:
    fft = compute_inputs(tone(5_000, 1.0), SAMPLE_RATE_HZ)["fft"]
    assert fft.argmax() == int(5_000 / (SAMPLE_RATE_HZ / 2) * INPUT_SIZES["fft"])


def test_centroid_and_bandwidth_are_librosa_s() -> None:
    sound = tone(2_000, 1.0)
    keys: dict[str, Any] = {"y": sound, "sr": SAMPLE_RATE_HZ, "n_fft": 1024, "hop_length": 256}
    centroid, bandwidth = librosa.feature.spectral_centroid(**keys), librosa.feature.spectral_bandwidth(**keys)
    inputs = compute_inputs(sound, SAMPLE_RATE_HZ)
    np.testing.assert_allclose(
        np.concatenate([inputs["centroid"], inputs["bandwidth"]]),
        [centroid.mean(), centroid.std(), bandwidth.mean(), bandwidth.std()],
        rtol=1e-4,
    )


def test_the_spectrogram_is_librosa_s_in_columns() -> None:
    sound = tone(2_000, 1.0)
    mel = librosa.power_to_db(
        librosa.feature.melspectrogram(y=sound, sr=SAMPLE_RATE_HZ, n_fft=1024, hop_length=256, n_mels=64)
    )
    columns = [part.mean(axis=1) for part in np.split(mel, np.linspace(0, mel.shape[1], 33).astype(int)[1:-1], axis=1)]
    np.testing.assert_allclose(
        compute_inputs(sound, SAMPLE_RATE_HZ)["spectrogram"].reshape(64, 32), np.stack(columns, axis=1), atol=1e-3
    )


def test_an_excerpt_is_the_middle_and_short_sound_repeats() -> None:
    sound = np.arange(10, dtype=np.float32)
    assert extract_excerpt([sound[:3], sound[3:]], 4, SAMPLE_RATE_HZ).tolist() == [3, 4, 5, 6]
    assert extract_excerpt([sound[:3]], 7, SAMPLE_RATE_HZ).tolist() == [0, 1, 2, 0, 1, 2, 0]


def test_a_long_recording_is_not_read_to_its_end() -> None:
    taken = []

    def blocks() -> Iterator[np.ndarray]:
        for number in range(1000):
            taken.append(number)
            yield np.zeros(10 * 100, np.float32)  # 10 s at 100 Hz

    extract_excerpt(blocks(), 100, 100)
    assert len(taken) == MAX_READ_S / 10


def test_a_recording_that_cannot_be_read_says_why(tmp_path: Path) -> None:
    (tmp_path / "broken.wav").write_bytes(b"<html>")
    with pytest.raises(DecodeError, match="can read it"):
        read_inputs(str(tmp_path / "broken.wav"), Features(), 1.0)
    soundfile.write(tmp_path / "tone.wav", tone(440, 0.5), SAMPLE_RATE_HZ)
    assert isinstance(read_inputs(str(tmp_path / "tone.wav"), Features(trim_top_db=60), 1.0), dict)
