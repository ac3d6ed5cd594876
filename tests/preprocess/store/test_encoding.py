"""Values as stored numbers and back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.frames import compute_frames
from preprocess.store.encoding import encoding_for, quantise
from recipe import Features

FEATURES = {
    "float16": Features(),
    "uint8": Features(storage="uint8"),
    "chroma": Features(kind="cqt_chroma", storage="uint8", n_bins=12, fmin_hz=32.7),
    "waveform": Features(kind="waveform", storage="int16", n_bins=441),
}
STEPS = {"float16": 0.04, "uint8": 0.32, "chroma": 0.002, "waveform": 1.6e-5}
RANGES = {"float16": (-100, 60), "uint8": (-100, 60), "chroma": (0, 1), "waveform": (-1, 0.9999)}


@pytest.mark.parametrize("name", FEATURES)
def test_values_come_back_to_within_half_a_step(name: str) -> None:
    encoding = encoding_for(FEATURES[name])
    values = np.random.default_rng(0).uniform(*RANGES[name], (50, 3)).astype(np.float32)
    stored = quantise(values, encoding)
    assert stored.dtype == encoding.dtype
    np.testing.assert_allclose(stored.astype(np.float32) * encoding.scale + encoding.offset, values, atol=STEPS[name])


@pytest.mark.parametrize("n_fft", [16, 2048])
@pytest.mark.parametrize("bins_per_octave", [12, 36])
def test_no_sound_of_full_scale_is_louder_than_uint8_of_cqt_holds(n_fft: int, bins_per_octave: int) -> None:
    features = Features(
        kind="cqt",
        storage="uint8",
        sample_rate_hz=8_000,
        hop_length=256,
        n_fft=n_fft,
        n_bins=2 * bins_per_octave,
        bins_per_octave=bins_per_octave,
        fmin_hz=65.4,
    )
    encoding = encoding_for(features)
    phase = 2 * np.pi * 65.4 * np.arange(40_000) / 8_000
    for sound in (np.sin(phase), np.sign(np.sin(phase))):
        frames = compute_frames(sound.astype(np.float32), features)
        assert frames.max() > 20
        stored = quantise(frames, encoding)
        np.testing.assert_allclose(
            stored.astype(np.float32) * encoding.scale + encoding.offset, frames, atol=encoding.scale * 0.501
        )
        assert 225 < stored.max() < 255


@given(st.sampled_from(sorted(FEATURES)), st.lists(st.floats(-(2.0**99), 2.0**99, width=32), min_size=2, max_size=9))
def test_order_and_ends_are_kept(name: str, values: list[float]) -> None:
    encoding = encoding_for(FEATURES[name])
    stored = quantise(np.sort(np.array(values, np.float32))[:, None], encoding)
    assert (np.diff(stored[:, 0].astype(np.float64)) >= 0).all()
    assert np.isfinite(stored.astype(np.float64)).all()


def test_frames_per_second_are_the_kinds() -> None:
    assert encoding_for(Features(sample_rate_hz=44_100, hop_length=441)).frames_per_second == 100
    assert encoding_for(Features(kind="stft", frames_per_second=52.0)).frames_per_second == 52
    assert encoding_for(FEATURES["waveform"]).frames_per_second == 100
