"""Generators depend on their purpose and keys, and on nothing else."""

import itertools

import torch

from train.augment.pipeline import AUGMENTATION_ORDER
from train.data.random_streams import seed_torch, seeded_generator

PURPOSES = ["weights", "dropout", "order", "crops", *map(" ".join, AUGMENTATION_ORDER)]


def draw(purpose: str, *keys: int) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=seeded_generator("cpu", purpose, *keys)).tolist())


def test_same_purpose_and_keys_same_numbers() -> None:
    torch.manual_seed(5)
    first = draw("crops", 3, 1, 4)
    torch.manual_seed(6)
    assert draw("crops", 3, 1, 4) == first


def test_no_two_purposes_or_sets_of_keys_share_their_numbers() -> None:
    keys = [*itertools.product(range(3), repeat=3), *itertools.product(range(3), repeat=2), (0,), (2**63, 0)]
    drawn = {draw(purpose, *some) for purpose in PURPOSES for some in keys}
    assert len(drawn) == len(PURPOSES) * len(keys)


def test_dropout_does_not_draw_the_numbers_of_crops() -> None:
    seed_torch("dropout", 0, 0, 0)
    dropout = torch.rand(1000)
    crops = torch.rand(1000, generator=seeded_generator("cpu", "crops", 0, 0, 0))
    assert abs(float(torch.corrcoef(torch.stack([dropout, crops]))[0, 1])) < 0.1
