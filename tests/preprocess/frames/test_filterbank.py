"""The filterbank against librosa's."""

import librosa
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.frames.filterbank import Scale, hz_to_mel, mel_filterbank, mel_to_hz
from preprocess.frames.framing import apply_filterbank, split_filterbank
from recipe import Features


@pytest.mark.parametrize("scale", ["slaney", "htk"])
@pytest.mark.parametrize(
    ("sample_rate_hz", "n_fft", "n_bands", "fmin_hz", "fmax_hz"),
    [
        (44_100, 2048, 128, 20, 22_050),
        (22_050, 1024, 40, 0, 8_000),
        (16_000, 513, 64, 125, 7_500),
        (8_000, 256, 1, 0, 4_000),
    ],
)
def test_filters_are_librosas(
    scale: Scale, sample_rate_hz: int, n_fft: int, n_bands: int, fmin_hz: float, fmax_hz: float
) -> None:
    theirs = librosa.filters.mel(
        sr=sample_rate_hz, n_fft=n_fft, n_mels=n_bands, fmin=fmin_hz, fmax=fmax_hz, htk=scale == "htk"
    )
    features = Features(
        sample_rate_hz=sample_rate_hz, n_fft=n_fft, n_bins=n_bands, fmin_hz=fmin_hz, fmax_hz=fmax_hz, mel_scale=scale
    )
    np.testing.assert_allclose(mel_filterbank(features), theirs, atol=1e-7)


@given(st.floats(0, 100_000), st.sampled_from(["slaney", "htk"]))
def test_the_scales_invert(hz: float, scale: Scale) -> None:
    assert mel_to_hz(hz_to_mel(hz, scale), scale) == pytest.approx(hz, rel=1e-9, abs=1e-9)


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize(("n_bands", "n_fft"), [(1, 512), (16, 512), (17, 2048), (128, 2048), (200, 256)])
def test_groups_of_bands_multiply_as_the_whole(n_bands: int, n_fft: int) -> None:
    filters = mel_filterbank(Features(n_fft=n_fft, n_bins=n_bands, fmin_hz=0.0))
    power = np.random.default_rng(0).random((7, n_fft // 2 + 1), dtype=np.float32)
    np.testing.assert_allclose(
        apply_filterbank(power, split_filterbank(filters)), power @ filters.T, rtol=2e-5, atol=1e-9
    )
