"""Stretched and shifted crops against naive loops. A crop that holds its own coordinates shows what was drawn."""

import numpy as np
import pytest
import torch

from train.augment.warp import resized_crop, roll_pitch
from train.data.random_streams import seeded_generator

BATCH, N_FRAMES, N_BINS = 60, 24, 10


@pytest.mark.parametrize("min_scale", [0.5, 0.8, 1.0])
def test_resized_crop_is_linear_interpolation_of_a_part(min_scale: float) -> None:
    time, bins = torch.meshgrid(torch.arange(N_FRAMES), torch.arange(N_BINS), indexing="ij")
    y = torch.rand(BATCH, 2)

    def resize(x: torch.Tensor) -> torch.Tensor:
        resized, labels = resized_crop(x.contiguous(), y, seeded_generator("cpu", "test", 1), min_scale=min_scale)
        assert torch.equal(labels, y)
        return resized

    at_time = resize(time.float().expand(BATCH, -1, -1)).double().numpy()
    at_bin = resize(bins.float().expand(BATCH, -1, -1)).double().numpy()
    x = torch.rand(BATCH, N_FRAMES, N_BINS, generator=seeded_generator("cpu", "test", 2))
    resized = resize(x).numpy()
    for i in range(BATCH):
        times, its_bins = at_time[i, :, 0], at_bin[i, 0]
        for points, length in ((times, N_FRAMES), (its_bins, N_BINS)):
            assert points.min() >= 0
            assert points.max() <= length - 1 + 1e-4
            np.testing.assert_allclose(np.diff(points), np.diff(points)[0], atol=1e-4)
            assert min_scale - 1e-4 <= np.diff(points)[0] <= 1 + 1e-4
        clip = x[i].double().numpy()
        stretched = np.stack([np.interp(times, np.arange(N_FRAMES), clip[:, b]) for b in range(N_BINS)], axis=1)
        naive = np.stack([np.interp(its_bins, np.arange(N_BINS), frame) for frame in stretched])
        np.testing.assert_allclose(resized[i], naive, atol=1e-4)
    if min_scale == 1:
        assert torch.equal(resize(x), x)
    else:
        scales = (at_time[:, -1, 0] - at_time[:, 0, 0]) / (N_FRAMES - 1)
        other = (at_bin[:, 0, -1] - at_bin[:, 0, 0]) / (N_BINS - 1)
        assert np.std(scales) > 0.2 * (1 - min_scale)
        assert abs(np.corrcoef(scales, other)[0, 1]) < 0.5, "time and bins are stretched apart"


@pytest.mark.parametrize("max_bins", [1, 3, 25])
def test_roll_pitch_moves_whole_bins_and_repeats_the_outermost(max_bins: int) -> None:
    x = torch.rand(400, 3, N_BINS, generator=seeded_generator("cpu", "test", 1))
    y = torch.rand(400, 2)
    rolled, labels = roll_pitch(x, y, seeded_generator("cpu", "test", 2), max_bins=max_bins, circular=False)
    assert torch.equal(labels, y)
    shifts = set()
    for before, after in zip(x.numpy(), rolled.numpy(), strict=True):
        fits = []
        for shift in range(-max_bins, max_bins + 1):
            naive = np.stack([before[:, min(max(b - shift, 0), N_BINS - 1)] for b in range(N_BINS)], axis=1)
            if np.array_equal(naive, after):
                fits.append(shift)
        assert fits
        shifts.add(fits[0])
    assert len(shifts) >= min(2 * max_bins + 1, N_BINS)


def test_chroma_is_turned_round() -> None:
    x = torch.rand(200, 3, 12, generator=seeded_generator("cpu", "test", 1))
    rolled, _ = roll_pitch(x, x[:, 0], seeded_generator("cpu", "test", 2), max_bins=6, circular=True)
    for before, after in zip(x.numpy(), rolled.numpy(), strict=True):
        assert any(np.array_equal(np.roll(before, shift, axis=1), after) for shift in range(-6, 7))


def test_one_frame_and_one_bin_stay() -> None:
    x = torch.rand(4, 1, 1)
    assert torch.equal(resized_crop(x, x[:, 0], seeded_generator("cpu", "test", 1), min_scale=0.5)[0], x)
    assert torch.equal(roll_pitch(x, x[:, 0], seeded_generator("cpu", "test", 1), max_bins=2, circular=False)[0], x)
