"""The modulation spectrum against NumPy's FFT, and what it does not depend on."""

import numpy as np
import pytest
import torch

from train.data.random_streams import seeded_generator
from train.networks.modulation import (
    MIN_MODULATION,
    MODULATION_BANDS_PER_OCTAVE,
    N_BAND_GROUPS,
    N_MODULATION_BANDS,
    ModulationUnits,
    modulation_spectrum,
    pool_modulation_bands,
    power_spectrum,
)


def crops(n_frames: int = 320, n_bins: int = 64) -> torch.Tensor:
    return torch.randn((3, n_frames, n_bins), generator=seeded_generator("cpu", "test", 1)) * 6 - 40


@pytest.mark.parametrize("n", [1, 2, 33, 320])
def test_power_is_that_of_the_fourier_transform_under_a_hann_window(n: int) -> None:
    x = torch.randn((2, n), generator=seeded_generator("cpu", "test", 2))
    window = np.sin(np.pi * (np.arange(n) + 0.5) / n) ** 2
    expected = np.abs(np.fft.rfft(x.double().numpy() * window)[:, 1:]) ** 2 / n
    found = power_spectrum(x).numpy()
    assert found.shape == (2, max(n // 2, 1))
    np.testing.assert_allclose(found[:, : n // 2], expected, atol=1e-4)


def test_a_beat_stands_out_in_the_range_of_its_rate_and_in_its_band_alone() -> None:
    time = torch.arange(320)
    cycles_a_frame = 0.1  # 6.4 Hz at 64 frames a second
    x = torch.full((1, 320, 64), -40.0) + 0.01 * torch.randn((1, 320, 64), generator=seeded_generator("cpu", "test", 3))
    x[0, :, 16:24] += 6 * torch.sin(2 * np.pi * cycles_a_frame * time)[:, None]
    mean, peak = modulation_spectrum(x).view(2, N_BAND_GROUPS, N_MODULATION_BANDS)
    expected = int(MODULATION_BANDS_PER_OCTAVE * np.log2(cycles_a_frame / MIN_MODULATION))
    assert int(mean[2].argmax()) == expected
    assert mean[2, expected] - mean[torch.arange(N_BAND_GROUPS) != 2].max() > 3
    assert peak[2, expected] > 1 > peak[:, :expected].max()


def test_neither_gain_nor_colour_matters() -> None:
    x = crops()
    gains = torch.linspace(-20, 20, N_BAND_GROUPS).repeat_interleave(64 // N_BAND_GROUPS)
    np.testing.assert_allclose(modulation_spectrum(x + 12 + gains), modulation_spectrum(x), atol=1e-2)


@pytest.mark.parametrize("n_frames", [1, 2, 7, 64, 640])
@pytest.mark.parametrize("n_bins", [12, 64, 128])
def test_crops_of_any_size_have_a_spectrum(n_frames: int, n_bins: int) -> None:
    for x in (crops(n_frames, n_bins), torch.full((3, n_frames, n_bins), -80.0)):
        spectrum = modulation_spectrum(x)
        assert spectrum.shape == (3, 2 * N_BAND_GROUPS * N_MODULATION_BANDS)
        assert spectrum.isfinite().all()


def test_every_range_has_a_bin_and_every_bin_a_range_in_long_crops() -> None:
    for n_cycles in (1, 5, 160):
        spectrum = torch.arange(1.0, n_cycles + 1)
        mean, peak = pool_modulation_bands(spectrum)
        assert mean.shape == peak.shape == (N_MODULATION_BANDS,)
        assert (peak.diff() >= 0).all() and peak[-1] == n_cycles
        assert (mean <= peak).all()


def test_units_learn() -> None:
    units = ModulationUnits(16, 0.0).train()
    units(crops()).square().sum().backward()
    assert all(weight.grad is not None for weight in units.parameters())
    assert units.eval()(crops()).shape == (3, 16)


@pytest.mark.cuda
def test_a_gpu_s_spectrum_is_the_cpu_s() -> None:
    """With TF32, which has 11 bits, it would differ by some 0.01."""
    torch.testing.assert_close(
        modulation_spectrum(crops().cuda()).cpu(), modulation_spectrum(crops()), rtol=0, atol=1e-3
    )
