"""Devices by name, and the arithmetic on them."""

import pytest
import torch

from errors import BadInput
from train.device import arithmetic, peak_memory_mb, pick_device

CPU = torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "meta:x"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"--device {name}"):
        pick_device(name)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_cpu_uses_bfloat16_only_when_told(precision: str, dtype: torch.dtype) -> None:
    with arithmetic(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_memory_is_counted_in_megabytes() -> None:
    assert 50 < peak_memory_mb(CPU) < 100_000
