"""The floor below the loudest moment around a frame: librosa's for a clip, local in a long recording."""

from dataclasses import replace

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.frames import compute_frames
from preprocess.frames.dynamic_range import TOP_DB_REACH_S, count_reach_frames, limit_range, sliding_max
from recipe import Features

LOGMEL = Features(sample_rate_hz=8_000, n_fft=256, hop_length=100, n_bins=24, fmax_hz=4_000.0)


@given(st.lists(st.floats(-100, 50, width=32), min_size=1, max_size=60), st.integers(0, 70))
def test_the_highest_around_each_value(values: list[float], reach: int) -> None:
    naive = [max(values[max(0, at - reach) : at + reach + 1]) for at in range(len(values))]
    assert sliding_max(np.array(values, np.float32), reach).tolist() == naive


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.integers(0, 50), st.integers(0, 1000))
def test_blocks_of_any_size_give_what_the_whole_gives(sizes: list[int], reach: int, seed: int) -> None:
    whole = np.random.default_rng(seed).uniform(-90, 0, (sum(sizes), 3)).astype(np.float32)
    blocks = np.split(whole, np.cumsum(sizes)[:-1])
    peaks = whole.max(axis=1)
    floors = np.array([peaks[max(0, at - reach) : at + reach + 1].max() - 20 for at in range(len(whole))], np.float32)
    got = np.concatenate([whole[:0], *limit_range(blocks, 20.0, reach)])
    np.testing.assert_array_equal(got, np.maximum(whole, floors[:, None]))


@pytest.mark.parametrize("seconds", [0.5, 5.0, TOP_DB_REACH_S])
def test_a_clip_that_is_no_longer_than_the_reach_has_librosas_floor(seconds: float) -> None:
    sound = np.random.default_rng(0).standard_normal(round(8_000 * seconds)) * np.geomspace(
        1, 1e-5, round(8_000 * seconds)
    )
    power = librosa.feature.melspectrogram(
        y=sound.astype(np.float32), sr=8_000, n_fft=256, hop_length=100, n_mels=24, fmin=20.0, fmax=4_000.0
    )
    frames = compute_frames(sound.astype(np.float32), replace(LOGMEL, top_db=80.0))
    np.testing.assert_allclose(frames, librosa.power_to_db(power, top_db=80.0).T, atol=1e-3)
    assert (frames == frames.min()).mean() > 0.05


@pytest.mark.parametrize(
    "features",
    [
        LOGMEL,
        Features(kind="stft", sample_rate_hz=8_000, n_fft=256, hop_length=100, n_bins=64, frames_per_second=30.0),
        Features(kind="cqt", sample_rate_hz=8_000, hop_length=128, n_bins=24, fmin_hz=200.0),
    ],
    ids=lambda features: features.kind,
)
def test_frames_of_a_long_recording_have_the_floor_of_their_surroundings(features: Features) -> None:
    """Loud for 10 s, faint for 80 s: the loud part sets the floor for 30 s beyond it, for every kind in decibels."""
    sound = np.random.default_rng(0).standard_normal(90 * 8_000).astype(np.float32)
    sound[10 * 8_000 :] *= 1e-3
    plain = compute_frames(sound, features)
    frames = compute_frames(sound, replace(features, top_db=20.0))
    reach = count_reach_frames(features)
    peaks = plain.max(axis=1)
    floors = [peaks[max(0, at - reach) : at + reach + 1].max() - 20 for at in range(len(plain))]
    np.testing.assert_allclose(frames, np.maximum(plain, np.array(floors)[:, None]), atol=1e-3)
    at = round(35 * len(frames) / 90)
    assert frames[at].min() > plain[at].max(), "25 s after the loud part nothing is heard beside it"
    at = round(60 * len(frames) / 90)
    assert np.median(frames[at]) < peaks[0] - 40
