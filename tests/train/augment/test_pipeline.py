"""A recipe's augmentations: each is pure, comes with its own probability, and makes sense for the features."""

from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from core.errors import UserError
from recipe import Training
from train.augment.pipeline import AUGMENTATION_ORDER, Augmentation, build_augmentations, random_choice
from train.data.random_streams import seeded_generator

OFF = Training()
PROBABILITIES = [
    f.name for f in fields(Training) if f.name.endswith("_probability") and f.name != "variant_probability"
]
MIXERS = ["mixup_probability", "power_mix_probability", "crossfade_probability"]
SPLICE = "frequency_splice_probability"
LEVELS = [f"{name}_probability" for name in ("power_mix", "crossfade", "gain", "contrast", "filter_bands", "noise")]
NOT_DRAWN = ["time_flip_probability"]
"""Those that have nothing to draw."""
SPECTRAL = [
    f"{name}_probability"
    for name in ("pitch_roll", "resized_crop", "contrast", "filter_bands", "frequency_splice", "frequency_mask")
]


def example(batch: int = 16) -> tuple[Tensor, Tensor]:
    generator = seeded_generator("cpu", "test", 1)
    return torch.rand((batch, 30, 12), generator=generator) * 60 - 80, torch.eye(batch)


NOISE_POWER = torch.rand((50, 12), generator=seeded_generator("cpu", "test", 0))


def with_keys(**keys: Any) -> Training:
    return replace(OFF, **keys)


def test_nothing_is_on_by_default() -> None:
    assert sorted(PROBABILITIES) == sorted(f"{name}_probability" for step in AUGMENTATION_ORDER for name in step)
    assert build_augmentations(OFF, "logmel") == {}


SENSIBLE = [
    *((key, "logmel") for key in PROBABILITIES),
    *((key, "waveform") for key in PROBABILITIES if key not in SPECTRAL),
    *((key, "cqt_chroma") for key in PROBABILITIES if key not in LEVELS),
]


@pytest.mark.parametrize(("key", "kind"), SENSIBLE)
@pytest.mark.parametrize("label_mixing", ["union", "proportional"])
def test_every_augmentation_is_pure_and_repeatable(key: str, kind: str, label_mixing: str) -> None:
    (augmentation,) = build_augmentations(
        with_keys(**{key: 1.0, "label_mixing": label_mixing}), kind, NOISE_POWER
    ).values()
    x, y = example()
    old_x, old_y, state = x.clone(), y.clone(), torch.get_rng_state()
    new_x, new_y = augmentation(x, y, seeded_generator("cpu", "test", 2))
    assert torch.equal(x, old_x)
    assert torch.equal(y, old_y)
    assert torch.equal(torch.get_rng_state(), state), "numbers come from the generator alone"
    assert new_x.dtype == new_y.dtype == torch.float32
    assert new_x.shape == x.shape
    assert new_x.isfinite().all()
    assert (new_x != x).any()
    mixes = key in (*MIXERS, SPLICE)
    assert (new_y == y).all().item() is not mixes
    if mixes and (label_mixing == "proportional" or key in ("mixup_probability", SPLICE)):
        assert torch.allclose(new_y.sum(1), torch.ones(len(y)))
    again_x, again_y = augmentation(x, y, seeded_generator("cpu", "test", 2))
    assert torch.equal(new_x, again_x)
    assert torch.equal(new_y, again_y)
    other_x, _ = augmentation(x, y, seeded_generator("cpu", "test", 3))
    assert torch.equal(new_x, other_x) is (key in NOT_DRAWN)


@pytest.mark.parametrize("key", PROBABILITIES)
def test_probability_is_the_share_of_clips_changed(key: str) -> None:
    keys = {key: 0.3, "resized_crop_scale": 0.5, "pitch_roll_bins": 10, "silence_share": 1.0, "max_masks": 1}
    keys |= {"time_mask_share": 1.0, "frequency_mask_share": 1.0}
    (augmentation,) = build_augmentations(with_keys(**keys), "logmel", NOISE_POWER).values()
    x, y = example(3000)[0], torch.ones(3000, 1)
    (always,) = build_augmentations(with_keys(**keys | {key: 1.0}), "logmel", NOISE_POWER).values()
    drawn = (always(x, y, seeded_generator("cpu", "test", 2))[0] != x).flatten(1).any(1).float().mean()
    changed = (augmentation(x, y, seeded_generator("cpu", "test", 2))[0] != x).flatten(1).any(1).float().mean()
    assert float(changed / drawn) == pytest.approx(0.3, abs=0.03)


def constant(value: float) -> Augmentation:
    def augment(x: Tensor, y: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        return torch.full_like(x, value), torch.full_like(y, value)

    return augment


def test_random_choice_applies_at_most_one() -> None:
    x, y = torch.zeros(10_000, 2, 2), torch.zeros(10_000, 3)
    augmented, labels = random_choice([(0.2, constant(1)), (0.5, constant(2))])(
        x, y, seeded_generator("cpu", "test", 1)
    )
    shares = torch.bincount(augmented[:, 0, 0].long()) / len(x)
    assert shares.tolist() == pytest.approx([0.3, 0.2, 0.5], abs=0.02)
    assert torch.equal(augmented.flatten(1).amin(1), augmented.flatten(1).amax(1))
    assert torch.equal(labels[:, 0], augmented[:, 0, 0])


def test_ways_of_mixing_exclude_each_other() -> None:
    keys = {"mixup_probability": 0.25, "power_mix_probability": 0.25, "crossfade_probability": 0.5}
    (mixing,) = build_augmentations(with_keys(**keys, power_mix_clips=2), "logmel").values()
    _, labels = mixing(*example(64), seeded_generator("cpu", "test", 2))
    assert ((labels > 0).sum(1) == 2).all(), "every clip is mixed with one other, once"
    with pytest.raises(UserError, match=r"training\.mixup_probability \+ .* = 1\.1: "):
        with_keys(**keys | {"mixup_probability": 0.35})


def test_order_is_own_then_mixed_then_masked() -> None:
    keys = dict.fromkeys(PROBABILITIES, 0.25)
    steps = build_augmentations(with_keys(**keys), "logmel", NOISE_POWER).values()
    assert len(steps) == len(PROBABILITIES) - 2, "the three mixers are one step"
    x, y = example()
    for step in steps:
        x, y = step(x, y, seeded_generator("cpu", "test", 4))
    assert x.isfinite().all()


@pytest.mark.parametrize(
    ("key", "kind"),
    [*((k, "waveform") for k in SPECTRAL), ("pitch_roll_probability", "stft"), *((k, "cqt_chroma") for k in LEVELS)],
)
def test_what_makes_no_sense_is_refused(key: str, kind: str) -> None:
    with pytest.raises(UserError, match=rf"training\.{key}: no sense for features\.kind = {kind}, "):
        build_augmentations(with_keys(**{key: 0.1}), kind)


def test_ratios_in_the_wrong_order_are_refused() -> None:
    with pytest.raises(UserError, match=r"training\.noise_snr_db = \[30, 10\]"):
        with_keys(noise_snr_db=(30.0, 10.0))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mixup_alpha", 0.0),
        ("power_mix_clips", 6),
        ("power_mix_clips", 1),
        ("noise_snr_db", (0.0, 500.0)),
        ("max_masks", 0),
        ("gain_db", -1.0),
    ],
)
def test_impossible_values_are_refused(key: str, value: Any) -> None:
    with pytest.raises(UserError, match=rf"training\.{key}"):
        with_keys(**{key: value})


def test_silence_in_a_waveform_is_zero() -> None:
    keys = {"silence_probability": 1.0, "silence_share": 1.0, "mask_fill": "mean"}
    x, y = example()
    (silence,) = build_augmentations(with_keys(**keys), "waveform").values()
    blanked, _ = silence(x, y, seeded_generator("cpu", "test", 2))
    assert (blanked[blanked != x] == 0).all()
    (silence,) = build_augmentations(with_keys(**keys), "logmel", NOISE_POWER).values()
    blanked, _ = silence(x, y, seeded_generator("cpu", "test", 2))
    for before, after in zip(x, blanked, strict=True):
        assert (after[after != before] == before.min()).all()
