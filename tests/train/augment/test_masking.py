"""Masks and the roll against naive loops over clips."""

from itertools import groupby

import numpy as np
import pytest
import torch
from torch import Generator, Tensor

from train.augment.masking import MaskFill, flip_time, mask_spans, roll_time
from train.data.random_streams import seeded_generator


def clips(batch: int, n_frames: int, n_bins: int) -> Tensor:
    return torch.rand((batch, n_frames, n_bins), generator=seeded_generator("cpu", "test", 1)) * 60 - 80


def spans(hidden: np.ndarray) -> list[int]:
    """Lengths of the runs of true."""
    return [len(list(run)) for value, run in groupby(hidden.tolist()) if value]


@pytest.mark.parametrize("fill", ["mean", "floor", "zero"])
@pytest.mark.parametrize("axis", ["time", "frequency"])
@pytest.mark.parametrize(("max_masks", "max_share"), [(1, 0.5), (3, 0.2), (2, 0.0), (1, 1.0)])
def test_masks_hide_whole_spans_and_nothing_else(axis: str, fill: MaskFill, max_masks: int, max_share: float) -> None:
    x, y = clips(200, 30, 20), torch.rand(200, 3)
    keys = {"axis": 1 if axis == "time" else 2, "max_masks": max_masks, "max_share": max_share, "fill": fill}
    masked, labels = mask_spans(x, y, seeded_generator("cpu", "test", 2), **keys)  # type: ignore[arg-type]
    assert torch.equal(labels, y)
    length = 30 if axis == "time" else 20
    for before, after in zip(x.numpy(), masked.numpy(), strict=True):
        changed = before != after
        along = changed.any(1) if axis == "time" else changed.any(0)
        expected = before.copy()
        value = {"mean": before.mean(dtype=np.float64), "floor": before.min(), "zero": 0.0}[fill]
        if axis == "time":
            expected[along] = value
        else:
            expected[:, along] = value
        np.testing.assert_allclose(after, expected, rtol=1e-5)
        assert len(spans(along)) <= max_masks
        assert along.sum() <= max_masks * int(max_share * length)


def hidden(x: Tensor, generator: Generator, *, max_masks: int, max_share: float) -> Tensor:
    """Which frames are masked."""
    masked, _ = mask_spans(x, x[:, 0], generator, axis=1, max_masks=max_masks, max_share=max_share, fill="zero")
    return masked[:, :, 0] == 0


def test_spans_are_as_many_as_wide_and_as_spread_as_they_should_be() -> None:
    x = torch.ones(30_000, 20, 1)
    one = hidden(x, seeded_generator("cpu", "test", 3), max_masks=1, max_share=0.5)
    widths, counts = one.sum(1).unique(return_counts=True)
    assert widths.tolist() == list(range(11)), "0 to half of 20 frames"
    assert counts.min() > 0.9 * len(x) / 11
    assert float(one.float().mean()) == pytest.approx(0.25, rel=0.03)
    assert torch.allclose(one.float().mean(0), one.flip(1).float().mean(0), atol=0.02), "no end is preferred"
    three = hidden(x, seeded_generator("cpu", "test", 4), max_masks=3, max_share=0.05)
    # Width 0 or 1, and 1 to 3 of them with equal chance: 3 frames only where all three are used and fall apart.
    assert int(three.sum(1).max()) == 3
    assert float((three.sum(1) == 0).float().mean()) == pytest.approx((1 / 2 + 1 / 4 + 1 / 8) / 3, rel=0.05)


def test_roll_turns_every_crop_by_its_own_number_of_frames() -> None:
    x, y = clips(400, 7, 3), torch.rand(400, 2)
    rolled, labels = roll_time(x, y, seeded_generator("cpu", "test", 5))
    assert torch.equal(labels, y)
    found = []
    for before, after in zip(x.numpy(), rolled.numpy(), strict=True):
        (shift,) = [n for n in range(7) if np.array_equal(np.roll(before, n, axis=0), after)]
        found.append(shift)
    counts = np.bincount(found, minlength=7)
    assert counts.min() > 30


def test_a_flipped_crop_runs_backwards() -> None:
    x, y = torch.rand(3, 7, 4), torch.rand(3, 2)
    flipped, labels = flip_time(x, y, seeded_generator("cpu", "test", 1), decibels=True)
    assert torch.equal(labels, y)
    assert np.array_equal(flipped.numpy(), x.numpy()[:, ::-1])
    samples, _ = flip_time(x, y, seeded_generator("cpu", "test", 1), decibels=False)
    assert np.array_equal(samples.flatten(1).numpy(), x.flatten(1).numpy()[:, ::-1])
