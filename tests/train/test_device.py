"""Devices by name, and the arithmetic on them."""

import functools
from typing import NoReturn

import pytest
import torch

from errors import BadInput
from train.device import arithmetic, check_compiler, peak_memory_mb, pick_device

CPU = torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "meta:x", "meta", "mps"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(BadInput, match=f"--device {name}"):
        pick_device(name)


def test_what_cannot_compile_says_why_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("No working C++ compiler found\nin all that was looked through")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail))
    with pytest.raises(BadInput, match=r"^training\.compile: No working C\+\+ compiler found; install .*false$"):
        check_compiler(CPU)


@pytest.mark.parametrize(
    ("precision", "dtype"), [("auto", torch.float32), ("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_a_cpu_uses_bfloat16_only_when_told(precision: str, dtype: torch.dtype) -> None:
    with arithmetic(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def test_memory_is_counted_in_megabytes() -> None:
    assert 50 < peak_memory_mb(CPU) < 100_000
