"""Mixtures against naive loops over clips. One label a clip and the proportional rule show each clip's share."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from train.augment.gain_noise import db_to_power
from train.augment.mixing import MixingLevels, crossfade, mix_labels, mixup, power_mix, splice_bands
from train.data.random_streams import seeded_generator

BATCH, N_FRAMES, N_BINS = 24, 20, 5
SOUNDS = {True: "decibels", False: "samples"}


def clips(decibels: bool, seed: int = 1, batch: int = BATCH, n_frames: int = N_FRAMES) -> Tensor:
    uniform = torch.rand((batch, n_frames, N_BINS), generator=seeded_generator("cpu", "test", seed))
    return uniform * 60 - 80 if decibels else uniform - 0.5


def power_of(decibels: NDArray[np.float64]) -> NDArray[np.float64]:
    return 10 ** (decibels / 10)


def naive_sum(x: Tensor, gains: Tensor, decibels: bool) -> NDArray[np.float64]:
    """Sounds of a batch added clip by clip; `gains` [batch, batch] of power: row i holds those of mixture i."""
    mixtures = []
    for row in gains.double().numpy():
        total = np.zeros(x.shape[1:])
        for gain, clip in zip(row, x.double().numpy(), strict=True):
            total += gain * power_of(clip) if decibels else np.sqrt(gain) * clip
        mixtures.append(10 * np.log10(total) if decibels else total)
    return np.stack(mixtures)


@pytest.mark.parametrize(("alpha", "max_share"), [(1.0, 0.5), (0.3, 1.0), (5.0, 1.0)])
def test_mixup_interpolates_values_and_labels_alike(alpha: float, max_share: float) -> None:
    x = clips(decibels=True)
    mixed, shares = mixup(x, torch.eye(BATCH), seeded_generator("cpu", "test", 2), alpha=alpha, max_share=max_share)
    for i in range(BATCH):
        others = [j for j in range(BATCH) if j != i and shares[i, j] > 0]
        assert len(others) == 1
        assert shares[i, others[0]] <= max_share
        naive = sum(float(shares[i, j]) * x[j].double().numpy() for j in [i, *others])
        np.testing.assert_allclose(mixed[i].numpy(), naive, rtol=1e-5)


@pytest.mark.parametrize(("alpha", "max_share"), [(1.0, 0.5), (0.2, 1.0), (5.0, 0.8)])
def test_mixup_draws_its_shares_from_a_beta_distribution(alpha: float, max_share: float) -> None:
    x = torch.zeros(20_000, 1, 1)
    _, own = mixup(
        x,
        torch.ones(len(x), 1),
        seeded_generator("cpu", "test", 2),
        alpha=alpha,
        max_share=max_share,
    )
    assert torch.allclose(own, torch.ones(1)), "label mass is kept"
    x = torch.arange(2.0).repeat(10_000)[:, None, None]
    shares = mixup(
        x,
        torch.ones(len(x), 1),
        seeded_generator("cpu", "test", 2),
        alpha=alpha,
        max_share=max_share,
    )[0].flatten()
    # Where a 0 meets a 1 the value is the 1's share.
    found = shares[(x.flatten() == 0) & (shares > 0)] / max_share
    assert float(found.mean()) == pytest.approx(0.5, abs=0.02)
    assert float(found.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.05)


def test_a_splice_is_a_band_of_another_clip_with_its_share_of_the_labels() -> None:
    x = torch.rand((BATCH, N_FRAMES, 40), generator=seeded_generator("cpu", "test", 1))
    spliced, shares = splice_bands(x, torch.eye(BATCH), seeded_generator("cpu", "test", 2), max_share=0.5)
    widths = []
    for i in range(BATCH):
        (other,) = [j for j in range(BATCH) if j != i and shares[i, j] > 0]
        from_other = (spliced[i] == x[other]).all(0)
        assert torch.equal(spliced[i][:, ~from_other], x[i][:, ~from_other])
        bins = from_other.nonzero().flatten()
        widths.append(len(bins))
        assert bins.tolist() == list(range(int(bins[0]), int(bins[0]) + len(bins))), "one band"
        assert float(shares[i, other]) == pytest.approx(len(bins) / 40)
        assert float(shares[i].sum()) == pytest.approx(1)
    assert 1 <= min(widths) < 5
    assert 15 < max(widths) <= 20


def naive_power(clip: Tensor, decibels: bool) -> float:
    values = clip.double().numpy()
    return float(np.mean(power_of(values) if decibels else values**2))


@pytest.mark.parametrize("decibels", SOUNDS, ids=SOUNDS.get)
@pytest.mark.parametrize("max_clips", [2, 3, 5])
@pytest.mark.parametrize("levels", ["recorded", "equal"])
def test_power_mix_is_the_sum_of_the_powers(levels: MixingLevels, max_clips: int, decibels: bool) -> None:
    x = clips(decibels)
    # Of very different levels: every second clip 30 dB louder.
    x[::2] = x[::2] + 30 if decibels else x[::2] * 10**1.5
    mixed, shares = power_mix(
        x,
        torch.eye(BATCH),
        seeded_generator("cpu", "test", 3),
        max_clips=max_clips,
        range_db=9,
        levels=levels,
        label_mixing="proportional",
        decibels=decibels,
    )
    gains = shares / shares.diagonal()[:, None]
    others = gains[~torch.eye(BATCH, dtype=torch.bool)]
    assert (others[others > 0] >= 10**-0.9 - 1e-6).all()
    assert (others <= 1).all()
    n_clips = (gains > 0).sum(1)
    assert set(n_clips.tolist()) == set(range(2, max_clips + 1))
    np.testing.assert_allclose(shares.sum(1).numpy(), 1, rtol=1e-6)
    if levels == "equal":
        powers = [naive_power(clip, decibels) for clip in x]
        gains = gains.double() * torch.tensor([[own / its for its in powers] for own in powers])
    np.testing.assert_allclose(mixed.numpy(), naive_sum(x, gains, decibels), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("decibels", SOUNDS, ids=SOUNDS.get)
def test_power_mix_has_the_expected_power_and_number_of_labels(decibels: bool) -> None:
    generator = seeded_generator("cpu", "test", 4)
    batch, max_clips, range_db = 3000, 4, 6.0
    noise = torch.randn(batch, 8, N_BINS, generator=generator)
    x = 10 * noise.square().clamp(min=1e-12).log10() if decibels else noise
    y = torch.eye(10)[torch.randint(10, (batch,), generator=generator)]
    mixing: dict[str, Any] = {"levels": "recorded", "label_mixing": "union"}
    mixed, _ = power_mix(x, y, generator, max_clips=max_clips, range_db=range_db, decibels=decibels, **mixing)
    power = db_to_power(mixed) if decibels else mixed.square()
    # Powers of independent sounds add: 1 of its own, and 1 to 3 others, each of the mean gain over -6 ... 0 dB.
    mean_gain = (1 - 10 ** (-range_db / 10)) / (range_db / 10 * np.log(10))
    assert float(power.mean()) == pytest.approx(1 + 2 * mean_gain, rel=0.02)
    _, union = power_mix(
        x, torch.eye(batch), generator, max_clips=max_clips, range_db=range_db, decibels=decibels, **mixing
    )
    assert set(union.unique().tolist()) == {0.0, 1.0}
    assert float(union.sum(1).mean()) == pytest.approx(3, rel=0.02), "2, 3 and 4 clips are equally likely"


@pytest.mark.parametrize("decibels", SOUNDS, ids=SOUNDS.get)
def test_crossfade_moves_power_from_one_clip_to_another_along_a_sigmoid(decibels: bool) -> None:
    n_frames = 100
    x = clips(decibels, n_frames=n_frames)
    mixed, shares = crossfade(
        x,
        torch.eye(BATCH),
        seeded_generator("cpu", "test", 5),
        max_share=0.5,
        label_mixing="proportional",
        decibels=decibels,
    )
    np.testing.assert_allclose(shares.sum(1).numpy(), 1, rtol=1e-5)
    time = (np.arange(n_frames) + 0.5) / n_frames
    for i in range(BATCH):
        (other,) = [j for j in range(BATCH) if j != i and shares[i, j] > 0]
        own, its, both = (each.double().numpy() for each in (x[i], x[other], mixed[i]))
        if decibels:
            # The bin where the two differ most tells best how much of each there is.
            best = np.abs(own - its).argmax(1)
            own, its, both = (power_of(each)[np.arange(n_frames), best] for each in (own, its, both))
            rising = (both - own) / (its - own)
        else:
            rising = np.array([naive_share(*each) for each in zip(own, its, both, strict=True)])
        inner = (rising > 0.01) & (rising < 0.99)
        logit = np.log(rising[inner] / (1 - rising[inner]))
        slope, at = np.polyfit(time[inner], logit, 1) if inner.sum() > 3 else (np.inf, 0)
        if np.isfinite(slope):
            np.testing.assert_allclose(logit, slope * time[inner] + at, atol=0.05)
            assert 0.25 <= -at / slope <= 0.75
            assert slope >= 4 / 0.5 - 0.1
        assert float(shares[i, other]) == pytest.approx(rising.mean(), abs=2e-3)


def naive_share(own: NDArray[np.float64], its: NDArray[np.float64], both: NDArray[np.float64]) -> float:
    """The share s of power for which sqrt(1 - s) * own + sqrt(s) * its comes nearest to `both`."""
    angles = np.linspace(0, np.pi / 2, 2_001)
    errors = np.cos(angles)[:, None] * own + np.sin(angles)[:, None] * its - both
    return float(np.sin(angles[np.square(errors).sum(1).argmin()]) ** 2)


def test_labels_are_a_union_or_proportional() -> None:
    y = torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.5, 1.0]])
    own, share = torch.tensor([0.7, 0.6, 1.0]), torch.tensor([0.3, 0.4, 0.0])
    shares, partners = torch.stack([own, share]), [torch.tensor([1, 2, 0])]
    proportional = [[0.7, 0.3, 0.0], [0.0, 0.8, 0.4], [0.0, 0.5, 1.0]]
    union = [[1.0, 1.0, 0.0], [0.0, 1.0, 1.0], [0.0, 0.5, 1.0]]
    torch.testing.assert_close(mix_labels(y, shares, partners, "proportional"), torch.tensor(proportional))
    torch.testing.assert_close(mix_labels(y, shares, partners, "union"), torch.tensor(union))


@pytest.mark.parametrize("decibels", SOUNDS, ids=SOUNDS.get)
def test_a_silent_clip_is_made_louder_by_no_more_than_40_db(decibels: bool) -> None:
    x = torch.tensor([-10.0, -150.0] if decibels else [0.5, 0.0])[:, None, None].expand(2, N_FRAMES, N_BINS)
    keys: dict[str, Any] = {"max_clips": 2, "range_db": 0, "levels": "equal", "label_mixing": "union"}
    mixed, _ = power_mix(x, torch.eye(2), seeded_generator("cpu", "test", 6), decibels=decibels, **keys)
    # The loud clip stays as it is, and is as quiet as the silent one where it is added to that.
    expected = torch.tensor([-10.0, -150 + 10 * math.log10(2)] if decibels else [0.5, 0.0])
    torch.testing.assert_close(mixed, expected[:, None, None].expand_as(mixed), atol=1e-3, rtol=0)


@pytest.mark.parametrize("batch", [1, 2])
def test_small_batches_mix_what_there_is(batch: int) -> None:
    x, y = clips(True, batch=batch), torch.eye(batch)
    mixed, labels = power_mix(
        x,
        y,
        seeded_generator("cpu", "test", 6),
        max_clips=5,
        range_db=0,
        levels="recorded",
        label_mixing="union",
        decibels=True,
    )
    expected = torch.ones(batch, batch)
    assert torch.equal(labels, expected)
    np.testing.assert_allclose(mixed.numpy(), naive_sum(x, expected, True), rtol=1e-4)
    assert mixup(x, y, seeded_generator("cpu", "test", 6), alpha=1, max_share=1)[0].shape == x.shape


def test_partners_are_spread_over_the_batch() -> None:
    pairs = torch.zeros(6, 6)
    generator = seeded_generator("cpu", "test", 7)
    for _ in range(600):
        keys: dict[str, Any] = {"max_clips": 2, "range_db": 0, "levels": "equal", "label_mixing": "union"}
        pairs += power_mix(torch.zeros(6, 1, 1), torch.eye(6), generator, decibels=True, **keys)[1]
    others = pairs[~torch.eye(6, dtype=torch.bool)]
    assert float(others.min()) > 80
    assert float(others.max()) < 160
