"""The device and the precision of networks."""

import resource
import sys
from contextlib import AbstractContextManager

import torch

from core.errors import UserError
from core.resources import available_cores

COMPILER = ("torch._dynamo", "torch._inductor")
"""Modules that define torch.compile's own errors."""


def pick_device(name: str) -> torch.device:
    """The device of `name`, ready for use; auto is the GPU where there is one. Raises UserError for one that is absent.

    A GPU may then choose its fastest convolutions and TF32; a CPU has no more threads than cores that may be used.
    """
    try:
        device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)
        if device.type not in ("cpu", "cuda"):
            raise UserError(f"--device {name}: nothing here is computed there; use auto, cpu or cuda")
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {name}: {str(error).splitlines()[0]}; use auto, cpu or cuda") from None
    if device.type == "cuda":
        torch.backends.cudnn.benchmark = True
        torch.set_float32_matmul_precision("high")
    elif (n_cores := available_cores()) < torch.get_num_threads():  # PyTorch does not know a container's quota
        torch.set_num_threads(n_cores)
    return device


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


def autocast_context(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a network's forward pass: bfloat16 where `precision` says so, or is auto and the GPU has it."""
    bfloat16 = precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def peak_memory_mb(device: torch.device) -> float:
    """Peak of the GPU's allocated memory, or of the process's resident memory, in 2**20 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / (2**20 if sys.platform == "darwin" else 2**10)
