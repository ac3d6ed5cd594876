"""Devices by name, and the arithmetic on them."""

import functools
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import pytest
import torch
from torch import Tensor

from core.device import (
    DevicePool,
    autocast_context,
    autocast_dtype,
    check_compiler,
    peak_memory_mb,
    pick_device,
    pick_devices,
    raise_compile_error,
    to_device,
)
from core.errors import UserError

CPU = torch.device("cpu")


def test_auto_is_the_gpu_where_there_is_one() -> None:
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")


@pytest.mark.parametrize("name", ["cuda:99", "abacus", "meta:x", "meta", "mps"])
def test_a_device_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(UserError, match=f"--device {name}"):
        pick_device(name)


def test_several_devices_are_named_with_commas_and_auto_is_all_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pick_devices("cpu:0,cpu:1") == [torch.device("cpu:0"), torch.device("cpu:1")]
    with pytest.raises(UserError, match="--device abacus"):
        pick_devices("cpu,abacus")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr("core.device.pick_device", torch.device)
    for name in ("auto", "cuda"):
        assert pick_devices(name) == [torch.device("cuda:0"), torch.device("cuda:1")]
    assert pick_devices("cuda:1") == [torch.device("cuda:1")]


def test_a_faster_device_does_more_of_the_tasks() -> None:
    pool, taken = DevicePool(["slow", "fast"], 2), []

    def run(_: int) -> None:
        with pool.take() as name:
            taken.append(name)
            time.sleep(0.2 if name == "slow" else 0.01)

    with ThreadPoolExecutor(2) as executor:
        list(executor.map(run, range(10)))
    assert 1 <= taken.count("slow") <= 3


def test_what_cannot_compile_says_why_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("No working C++ compiler found\nin all that was looked through")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail))
    with pytest.raises(UserError, match=r"^training\.compile: No working C\+\+ compiler found; install .*false$"):
        check_compiler(CPU)


def test_there_are_no_more_threads_than_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    requested: list[int] = []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    monkeypatch.setattr(torch, "set_num_threads", requested.append)
    for n_cores in (2, 8, 64):
        monkeypatch.setattr("core.device.available_cores", lambda n_cores=n_cores: n_cores)
        pick_device("cpu")
    assert requested == [2, 8, 8]


def error_of(network: Callable[[Tensor], Tensor], **keys: Any) -> RuntimeError:
    """What is raised where torch.compile is to compile `network`."""
    with pytest.raises(RuntimeError) as caught:
        torch.compile(network, **keys)(torch.ones(2, 3))
    return caught.value


def test_what_the_compiler_refuses_is_said_in_a_line() -> None:
    def stops(x: Tensor) -> Tensor:
        torch._dynamo.graph_break()
        return x

    def fail(*_: object) -> NoReturn:
        raise KeyError

    line = r"^training\.compile: the network cannot be compiled \(%s\); set it to false$"
    with pytest.raises(UserError, match=line % r"Call to `torch\._dynamo\.graph_break\(\)`"):
        raise_compile_error(error_of(stops, backend="eager", fullgraph=True))
    with pytest.raises(UserError, match=line % "KeyError"):
        raise_compile_error(error_of(lambda x: x + 1, backend=fail))


def test_what_is_wrong_with_the_network_is_not_the_compiler_s_fault() -> None:
    def raises(_: Tensor) -> NoReturn:
        raise RuntimeError("mistaken")

    raise_compile_error(error_of(raises, backend="eager"))
    raise_compile_error(error_of(lambda x: x @ x, backend="eager"))  # which it meets while it traces


@pytest.mark.parametrize(
    ("precision", "dtype"),
    [
        ("auto", torch.float32),
        ("float32", torch.float32),
        ("bfloat16", torch.bfloat16),
        ("float16", torch.float16),
    ],
)
def test_a_cpu_uses_short_types_only_when_told(precision: str, dtype: torch.dtype) -> None:
    with autocast_context(CPU, precision):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


@pytest.mark.parametrize(
    ("capability", "dtype"),
    [((6, 0), torch.float32), ((7, 0), torch.float16), ((7, 5), torch.float16), ((8, 0), torch.bfloat16)],
)
def test_a_gpu_s_own_short_type_is_the_default(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    """P100, V100, T4, A100."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert autocast_dtype(torch.device("cuda", 1), "auto") == dtype
    assert autocast_dtype(torch.device("cuda", 1), "float32") == torch.float32


def test_matrix_products_keep_all_digits_of_float32() -> None:
    pick_device("auto")
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.cuda
def test_frames_reach_a_gpu_without_a_wait() -> None:
    values, device = torch.arange(10.0), torch.device("cuda")
    torch.zeros(1, device=device)
    torch.cuda.set_sync_debug_mode("error")
    try:
        copied = to_device(values, device)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert torch.equal(copied.cpu(), values)


def test_memory_is_counted_in_megabytes() -> None:
    assert 50 < peak_memory_mb(CPU) < 100_000
