"""A trained filterbank begins as a mel spectrogram, hears every sample, and learns."""

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from recipe import Features, Network, Recipe, Training
from train.networks.factory import AudioNetwork, build_network_from_recipe
from train.networks.filterbank import TrainedFilterbank, mel_gabor_filters

HOP = 344


def make_features(hop_length: int = HOP, sample_rate_hz: int = 22_050) -> Features:
    return Features(kind="waveform", storage="int16", n_bins=hop_length, sample_rate_hz=sample_rate_hz)


def build(training: Training | None = None, features: Features | None = None, **keys: object) -> AudioNetwork:
    torch.manual_seed(0)
    features = features or make_features()
    network = Network(**{"name": "cnn_small", "filterbank_bins": 32} | keys)  # type: ignore[arg-type]
    recipe = Recipe(features=features, network=network, training=training or Training())
    return build_network_from_recipe(recipe, features.n_bins, 5)


def make_noise(n_frames: int, n_clips: int = 2) -> torch.Tensor:
    return torch.randn((n_clips, n_frames, HOP), generator=torch.Generator().manual_seed(0))


def test_white_noise_has_its_power_in_every_band() -> None:
    bands = TrainedFilterbank(make_features(), 32, 0.0, 1.0)(make_noise(300))
    assert bands.shape == (2, 300, 32)
    mean_power = 10 ** (bands / 10)
    np.testing.assert_allclose(mean_power.mean((0, 1)).detach(), 1.0, atol=0.2)
    louder = TrainedFilterbank(make_features(), 32, 0.0, 0.1)(make_noise(300))
    torch.testing.assert_close(louder, bands + 20, atol=1e-3, rtol=0)


def test_a_tone_is_in_the_band_of_its_mel() -> None:
    rate_hz, features = 22_050, make_features()
    centres_hz = librosa.mel_frequencies(34, fmin=features.fmin_hz, fmax=rate_hz / 2)[1:-1]
    filterbank = TrainedFilterbank(features, 32, 0.0, 1.0)
    for band in (6, 15, 24, 31):
        tone = np.sin(2 * np.pi * centres_hz[band] * np.arange(20 * HOP) / rate_hz).astype(np.float32)
        levels = filterbank(torch.from_numpy(tone).view(1, 20, HOP))[0, 2:-2].mean(0)
        assert int(levels.argmax()) == band


def test_its_frames_follow_a_mel_spectrogram_of_librosa() -> None:
    """Noise whose colour and level change: over bands and frames the decibels go together."""
    rng = np.random.default_rng(0)
    parts = [
        librosa.effects.preemphasis(rng.normal(size=40 * HOP) * level, coef=coef)
        for level in (0.1, 1.0)
        for coef in (0.95, -0.95)
    ]
    sound = np.concatenate(parts).astype(np.float32)
    mel = librosa.feature.melspectrogram(y=sound, sr=22_050, n_fft=1024, hop_length=HOP, n_mels=32, fmin=20)
    expected = librosa.power_to_db(mel, amin=1e-10, top_db=None)[:, : len(sound) // HOP].T
    levels = TrainedFilterbank(make_features(), 32, 0.0, 1.0)(torch.from_numpy(sound).view(1, -1, HOP))[0].detach()
    assert np.corrcoef(levels.numpy().ravel(), expected.ravel())[0, 1] > 0.9


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 8), st.integers(1, 60), st.integers(1_000, 48_000))
def test_it_has_a_frame_for_each_and_hears_every_sample(n_frames: int, quarter: int, rate_hz: int) -> None:
    hop_length = min(4 * quarter, 4 * round(0.023 * rate_hz))
    filterbank = TrainedFilterbank(make_features(hop_length, rate_hz), 3, 0.0, 1.0)
    torch.nn.init.ones_(filterbank.filters.weight)  # windows end in zeros
    x = torch.full((1, n_frames, hop_length), 1e-3, requires_grad=True)
    bands = filterbank(x)
    assert bands.shape == (1, n_frames, 3)
    bands.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.ne(0).all())


def test_silence_is_finite_and_filters_are_trained() -> None:
    network = build(modulation_units=4)
    assert network.filterbank
    before = network.filterbank.filters.weight.clone()
    optimizer = torch.optim.SGD(network.parameters(), 0.1)
    x = torch.cat([make_noise(64), torch.zeros(1, 64, HOP)])
    network.train()(x).square().sum().backward()
    optimizer.step()
    after = network.filterbank.filters.weight
    assert bool(after.isfinite().all())
    assert not torch.equal(before, after)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_short_types_begin_behind_it(dtype: torch.dtype) -> None:
    filterbank, x = TrainedFilterbank(make_features(), 32, 0.0, 1.0), make_noise(8)
    with torch.inference_mode(), torch.autocast("cpu", dtype):
        bands = filterbank(x)
    assert bands.dtype == torch.float32
    torch.testing.assert_close(bands, filterbank(x))


def test_windows_of_one_pass_are_those_of_their_own() -> None:
    """Away from the ends, where filters see the sound around a window, a time step is the same."""
    network, x = build().eval(), make_noise(192, 1)
    assert network.dense
    with torch.inference_mode():
        whole, part = network.time_steps(x), network.time_steps(x[:, 32:160])
    torch.testing.assert_close(whole[..., 5:7], part[..., 3:5], atol=1e-4, rtol=1e-4)


def test_filters_are_cosines_and_sines_under_windows_of_their_band() -> None:
    filters = mel_gabor_filters(make_features(), 32)
    assert filters.shape == (64, round(0.023 * 22_050))
    n_within = (np.abs(filters[:32]) > 1e-3).sum(1)
    assert n_within[0] > 3 * n_within[-1]
    np.testing.assert_allclose(np.abs(filters).max(1), 1.0, atol=0.15)
    np.testing.assert_allclose((filters[:32] * filters[32:]).sum(1), 0.0, atol=1e-3)


@pytest.mark.parametrize(
    ("keys", "key"),
    [
        ({"features": Features()}, "features.kind = logmel"),
        ({"filterbank_bins": 0}, "network.filterbank_bins = 0"),
        ({"features": make_features(1), "name": "waveform"}, "network.filterbank_bins"),
        ({"features": make_features(342)}, "a multiple of 4 up to 2028"),
        ({"features": make_features(4000)}, "a multiple of 4 up to 2028"),
        ({"normalise": "bins"}, "network.normalise"),
        ({"training": Training(progressive=[0.5, 1.0])}, "training.progressive"),
    ],
)
def test_keys_that_do_not_fit_are_named(keys: dict[str, object], key: str) -> None:
    with pytest.raises(UserError, match=key):
        build(**keys)  # type: ignore[arg-type]
