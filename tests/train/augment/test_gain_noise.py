"""Levels: decibels and power, gain, contrast, gains over bins and noise, against their definitions."""

import numpy as np
import pytest
import torch

from train.augment.gain_noise import (
    add_noise,
    db_to_power,
    filter_bands,
    power_to_db,
    random_contrast,
    random_gain,
)
from train.data.random_streams import seeded_generator


def test_decibels_and_power_are_each_others_inverse() -> None:
    decibels = torch.linspace(-200, 60, 1000)
    np.testing.assert_allclose(db_to_power(decibels).numpy(), 10 ** (decibels.double().numpy() / 10), rtol=1e-5)
    np.testing.assert_allclose(power_to_db(db_to_power(decibels)).numpy(), decibels.numpy(), atol=1e-4)
    assert float(power_to_db(torch.zeros(1))) == pytest.approx(-379.3, abs=0.1)


def test_gain_is_one_number_a_clip() -> None:
    generator = seeded_generator("cpu", "test", 1)
    x = torch.randn(500, 6, 4, generator=generator)
    y = torch.rand(500, 2)
    louder, labels = random_gain(x, y, seeded_generator("cpu", "test", 2), max_db=9, decibels=True)
    assert torch.equal(labels, y)
    gains_db = (louder - x).mean((1, 2)).numpy()
    for clip, result, gain_db in zip(x.numpy(), louder.numpy(), gains_db, strict=True):
        np.testing.assert_allclose(result, clip + gain_db, atol=1e-5)
    assert -9 <= gains_db.min() < -8.8
    assert 8.8 < gains_db.max() <= 9
    samples, _ = random_gain(x, y, seeded_generator("cpu", "test", 2), max_db=9, decibels=False)
    for clip, result, gain_db in zip(x.numpy(), samples.numpy(), gains_db, strict=True):
        np.testing.assert_allclose(result, clip * 10 ** (gain_db / 20), rtol=1e-4)


def test_contrast_is_a_slope_about_each_clip_s_mean() -> None:
    x = torch.randn(500, 6, 4, generator=seeded_generator("cpu", "test", 1)) * 10 - 40
    y = torch.rand(500, 2)
    stretched, labels = random_contrast(x, y, seeded_generator("cpu", "test", 2), max_slope=2)
    assert torch.equal(labels, y)
    slopes = (stretched.std((1, 2)) / x.std((1, 2))).numpy()
    for clip, result, slope in zip(x.numpy(), stretched.numpy(), slopes, strict=True):
        np.testing.assert_allclose(result, clip.mean() + slope * (clip - clip.mean()), rtol=1e-4)
    assert 0.5 <= slopes.min() < 0.51
    assert 1.97 < slopes.max() <= 2.001
    assert np.median(slopes) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("max_bands", [2, 5])
def test_gains_over_bins_are_lines_between_a_few_points(max_bands: int) -> None:
    x = torch.randn(400, 3, 200, generator=seeded_generator("cpu", "test", 1)).double().float()
    filtered, labels = filter_bands(x, x[:, 0], seeded_generator("cpu", "test", 2), max_bands=max_bands, max_db=6)
    assert torch.equal(labels, x[:, 0])
    gains_db = (filtered - x).numpy()
    np.testing.assert_allclose(gains_db, gains_db[:, :1].repeat(3, 1), atol=1e-5)
    gains_db = gains_db[:, 0].astype(np.float64)
    assert np.abs(gains_db).max() <= 6 + 1e-5
    assert np.abs(gains_db[:, [0, -1]]).mean() == pytest.approx(3, abs=0.2), "uniform within 6 dB at both ends"
    bent = np.abs(np.diff(gains_db, 2)) > 1e-3
    # A point between two bins bends the line at both.
    n_corners = (bent & ~np.roll(bent, 1, axis=1)).sum(1)
    assert n_corners.max() == max_bands - 1
    assert len(set(n_corners.tolist()) - {0}) == max_bands - 1


def test_noise_adds_spans_of_its_power_at_the_drawn_ratio() -> None:
    x = torch.randn(100, 50, 40, generator=seeded_generator("cpu", "test", 1)) * 5 - 40
    noise_power = torch.rand((70, 40), generator=seeded_generator("cpu", "test", 3)) * 2
    y = torch.rand(100, 2)
    noisy, labels = add_noise(x, y, seeded_generator("cpu", "test", 2), snr_db=(-5, 5), noise_power=noise_power)
    assert torch.equal(labels, y)
    ratios_db, starts = [], set()
    for clip, result in zip(x.double().numpy(), noisy.double().numpy(), strict=True):
        power, sum_of_both = 10 ** (clip / 10), 10 ** (result / 10)
        spans = np.stack([np.roll(noise_power.double().numpy(), -start, 0)[:50] for start in range(70)])
        levels = ((sum_of_both - power) / spans).mean((1, 2))
        errors = np.abs(power + levels[:, None, None] * spans - sum_of_both).mean((1, 2))
        starts.add(int(errors.argmin()))
        assert errors.min() < 1e-4 * sum_of_both.mean()
        ratios_db.append(10 * np.log10(power.mean() / levels[errors.argmin()]))
    assert -5.2 < min(ratios_db) < -4.5
    assert 4.5 < max(ratios_db) < 5.2
    assert np.mean(ratios_db) == pytest.approx(0, abs=0.7)
    assert len(starts) > 35, "spans begin anywhere"


def test_noise_on_samples_is_gaussian_at_the_drawn_ratio() -> None:
    x = (
        torch.randn(20, 5000, 1, generator=seeded_generator("cpu", "test", 1))
        * torch.linspace(0.01, 1, 20)[:, None, None]
    )
    noisy, _ = add_noise(x, x[:, 0], seeded_generator("cpu", "test", 2), snr_db=(10, 10), noise_power=None)
    for clip, result in zip(x.numpy(), noisy.numpy(), strict=True):
        noise = result - clip
        assert 10 * np.log10(np.mean(clip**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.3)
        assert np.mean(noise**4) / np.mean(noise**2) ** 2 == pytest.approx(3, abs=0.3)
