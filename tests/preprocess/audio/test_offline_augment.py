"""Offline copies against librosa's effects and against their definitions."""

import librosa
import numpy as np
import pytest
import xxhash

from preprocess.audio import offline_augment
from preprocess.audio.offline_augment import (
    add_noise,
    echo_response,
    offline_augmentations,
    room_response,
    shift_pitch,
    stretch_time,
)
from recipe import Features

SAMPLE_RATE_HZ = 16_000


def tone(seconds: float, hz: float = 440.0) -> np.ndarray:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ)).astype(np.float32)


@pytest.mark.filterwarnings("ignore:::librosa", "ignore:invalid value")  # of librosa's own calls here, as of 1.0
def test_short_sounds_are_changed_as_librosa_does() -> None:
    sound = tone(1.5)
    np.testing.assert_array_equal(
        np.concatenate(list(shift_pitch([sound[:9], sound[9:]], 3, SAMPLE_RATE_HZ))),
        librosa.effects.pitch_shift(sound, sr=SAMPLE_RATE_HZ, n_steps=3),
    )
    np.testing.assert_array_equal(
        np.concatenate(list(stretch_time([sound], 1.25, SAMPLE_RATE_HZ))),
        librosa.effects.time_stretch(sound, rate=1.25),
    )


@pytest.mark.parametrize("rate", [0.8, 1.25])
def test_long_sounds_are_changed_in_segments_without_a_gap(monkeypatch: pytest.MonkeyPatch, rate: float) -> None:
    monkeypatch.setattr(offline_augment, "SEGMENT_S", 1.0)
    stretched = np.concatenate(list(stretch_time([tone(5.5)], rate, SAMPLE_RATE_HZ)))
    assert len(stretched) == pytest.approx(5.5 * SAMPLE_RATE_HZ / rate, abs=10)
    levels = np.sqrt(np.mean(stretched[1_000:-1_000][:60_000].reshape(-1, 1_000) ** 2, axis=1))
    assert levels.min() > 0.4 * levels.max()
    pitch = librosa.yin(stretched, fmin=200, fmax=900, sr=SAMPLE_RATE_HZ)
    assert np.median(pitch) == pytest.approx(440, rel=0.01)


@pytest.mark.parametrize("n_samples", [1, 100, 3_000])
def test_the_shortest_sounds_can_be_changed(n_samples: int) -> None:
    assert sum(map(len, shift_pitch([tone(1)[:n_samples]], -2, SAMPLE_RATE_HZ))) == n_samples
    assert sum(map(len, stretch_time([tone(1)[:n_samples]], 2.0, SAMPLE_RATE_HZ))) == max(1, round(n_samples / 2))


@pytest.mark.parametrize("snr_db", [-5.0, 20.0])
def test_noise_has_its_level_whatever_the_blocks(snr_db: float) -> None:
    sound = tone(2)
    whole = np.concatenate(list(add_noise([sound], snr_db, np.random.default_rng(1))))
    blocks = np.concatenate(list(add_noise([sound[:777], sound[777:]], snr_db, np.random.default_rng(1))))
    np.testing.assert_allclose(whole, blocks, atol=1e-6)
    assert 10 * np.log10(np.mean(sound**2) / np.mean((whole - sound) ** 2)) == pytest.approx(snr_db, abs=0.2)


def test_a_room_has_lost_60_db_after_its_time_and_as_much_energy_behind_as_in_the_direct_sound() -> None:
    response = room_response(0.5, SAMPLE_RATE_HZ, np.random.default_rng(1)).astype(np.float64)
    assert len(response) == 8_000
    assert np.sum(response**2) == pytest.approx(1, abs=1e-5)
    assert response[0] ** 2 == pytest.approx(0.5, abs=1e-5)
    level_db = 10 * np.log10(np.mean(response[1:].reshape(-1)[:7_900].reshape(79, 100) ** 2, axis=1))
    slope, _ = np.polyfit(np.arange(79) * 100 / SAMPLE_RATE_HZ, level_db, 1)
    assert slope == pytest.approx(-60 / 0.5, rel=0.03)


def test_echoes_come_at_their_delay_each_half_as_loud() -> None:
    response = echo_response(0.1, SAMPLE_RATE_HZ)
    (places,) = np.nonzero(response)
    assert places.tolist() == [1_600 * number for number in range(7)]
    np.testing.assert_allclose(response[places] / response[0], 0.5 ** np.arange(7))
    assert np.sum(response**2) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("n_samples", [1, 3_000, 20_000])
def test_rooms_and_echoes_are_convolutions_of_the_sound_s_length_whatever_the_blocks(n_samples: int) -> None:
    features = Features(sample_rate_hz=SAMPLE_RATE_HZ, reverberation_times_s=[0.2], echo_delays_s=[0.03])
    sound = np.random.default_rng(0).standard_normal(n_samples).astype(np.float32)
    blocks = np.split(sound, [777, 778])
    rng = np.random.default_rng([0, 1, *xxhash.xxh3_128_digest(b"a.wav")])
    responses = [room_response(0.2, SAMPLE_RATE_HZ, rng), echo_response(0.03, SAMPLE_RATE_HZ)]
    for augment, response in zip(offline_augmentations("a.wav", features), responses, strict=True):
        copy = np.concatenate(list(augment([block for block in blocks if len(block)])))
        np.testing.assert_allclose(copy, np.convolve(sound, response)[:n_samples], atol=1e-4)


def test_silence_stays_silent() -> None:
    assert not np.concatenate(list(add_noise([np.zeros(100, np.float32)], 10, np.random.default_rng(0)))).any()


def test_a_clips_augmentations_are_its_own_and_repeatable() -> None:
    features = Features(
        sample_rate_hz=SAMPLE_RATE_HZ,
        pitch_shifts=[1.0],
        time_stretches=[2.0],
        noise_snrs_db=[10.0, 10.0],
        reverberation_times_s=[0.3, 0.3],
    )
    sound = [tone(0.3)]
    first = [np.concatenate(list(augment(sound))) for augment in offline_augmentations("a.wav", features)]
    again = [np.concatenate(list(augment(sound))) for augment in offline_augmentations("a.wav", features)]
    other = [np.concatenate(list(augment(sound))) for augment in offline_augmentations("b.wav", features)]
    assert [len(variant) for variant in first] == [4800, 2400, 4800, 4800, 4800, 4800]
    for one, same in zip(first, again, strict=True):
        np.testing.assert_array_equal(one, same)
    for drawn in (2, 4):
        assert np.any(first[drawn] != first[drawn + 1])
        assert np.any(first[drawn] != other[drawn])
