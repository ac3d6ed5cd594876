"""The device and the precision of networks."""

import resource
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from itertools import cycle, islice
from queue import SimpleQueue

import torch
from torch import Tensor

from core.errors import UserError
from core.resources import available_cores

TENSOR_CORES, BFLOAT16 = (7, 0), (8, 0)
"""The first CUDA capabilities with them: V100 and T4, A100."""
COMPILER = ("torch._dynamo", "torch._inductor")
"""Modules that define torch.compile's own errors."""


def pick_device(name: str) -> torch.device:
    """The device of `name`, ready for use; auto is cuda where there is one. Raises UserError for one that is absent.

    CUDA's convolutions compute float32 in TF32; its matrix products do not, for spectra and logits need all digits. A
    CPU has no more threads than cores that may be used.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        if device.type not in ("cpu", "cuda"):  # mps has no float64, in which clips are weighed and normalised
            raise UserError(f"--device {name}: nothing here is computed there; use auto, cpu or cuda")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        advice = "use auto, cpu or cuda; a GPU needs a PyTorch that is built for it, as docs/training.md says"
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}; {advice}") from None
    if device.type == "cpu":  # PyTorch does not know a container's quota
        torch.set_num_threads(min(available_cores(), torch.get_num_threads()))
    return device


def pick_devices(names: str) -> list[torch.device]:
    """The devices of `names`, separated by commas; auto and cuda are all GPUs. Raises UserError as `pick_device`."""
    n_gpus = torch.cuda.device_count() if names in ("auto", "cuda") else 0
    return [pick_device(name) for name in ([f"cuda:{index}" for index in range(n_gpus)] or names.split(","))]


class DevicePool:
    """Names of devices that threads take for a task at a time, so that a faster device does more of them."""

    def __init__(self, names: Sequence[str], n_threads: int) -> None:
        """At most `n_threads` take one at once, as many of them each device as another."""
        self._free: SimpleQueue[str] = SimpleQueue()
        for name in islice(cycle(names), n_threads):
            self._free.put(name)

    @contextmanager
    def take(self) -> Iterator[str]:
        device = self._free.get()
        try:
            yield device
        finally:
            self._free.put(device)


def check_compiler(device: torch.device) -> None:
    """Raise UserError where torch.compile cannot compile for `device`."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except RuntimeError as error:
        reason = _compiler_reason(error)
        raise UserError(f"training.compile: {reason}; install a C++ compiler (g++), or set it to false") from None


def raise_compile_error(error: RuntimeError) -> None:
    """Raise UserError where `error` is torch.compile's, and not the network's own (TorchRuntimeError).

    It compares names, because importing the classes takes seconds.
    """
    kinds = type(error).__mro__
    if kinds[0].__name__ != "TorchRuntimeError" and any(kind.__module__.startswith(COMPILER) for kind in kinds):
        reason = _compiler_reason(error)
        raise UserError(f"training.compile: the network cannot be compiled ({reason}); set it to false") from None


def _compiler_reason(error: RuntimeError) -> str:
    """The first line of the error that torch.compile wraps."""
    cause = getattr(error, "inner_exception", error)
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def autocast_dtype(device: torch.device, precision: str) -> torch.dtype:
    """The type that `precision` names; auto is the GPU's fast one, bfloat16 before float16, and float32 elsewhere."""
    if precision != "auto":
        return {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}[precision]
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else (0, 0)
    if capability >= BFLOAT16:
        return torch.bfloat16
    return torch.float16 if capability >= TENSOR_CORES else torch.float32


def autocast_context(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a network's forward pass in the type of `autocast_dtype`."""
    dtype = autocast_dtype(device, precision)
    if dtype == torch.float32:
        return torch.autocast(device.type, enabled=False)
    return torch.autocast(device.type, dtype)


def to_device(values: Tensor, device: torch.device) -> Tensor:
    """`values` on the device; from the host to CUDA by pinned memory, so that the host does not wait for the copy."""
    if device.type == "cuda" and not values.is_cuda:
        return values.pin_memory().to(device, non_blocking=True)
    return values.to(device)


def peak_memory_mb(device: torch.device) -> float:
    """Peak of the GPU's allocated memory, or of the process's resident memory, in 2**20 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / (2**20 if sys.platform == "darwin" else 2**10)
