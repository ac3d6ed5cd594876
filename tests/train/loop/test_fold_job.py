"""Generators depend on their keys, and on nothing else."""

import itertools

import torch

from train.loop.fold_job import seeded_generator


def draw(*keys: int) -> tuple[float, ...]:
    return tuple(torch.rand(4, generator=seeded_generator("cpu", *keys)).tolist())


def test_same_keys_same_numbers() -> None:
    torch.manual_seed(5)
    first = draw(3, 1, 4)
    torch.manual_seed(6)
    assert draw(3, 1, 4) == first


def test_no_two_sets_of_keys_share_their_numbers() -> None:
    keys = [*itertools.product(range(4), repeat=3), *itertools.product(range(4), repeat=2)]
    assert len({draw(*some) for some in keys}) == len(keys)
