"""Where a network runs and in which arithmetic."""

import resource
import sys
from contextlib import AbstractContextManager

import torch

from core.errors import UserError
from core.resources import available_cores

COMPILER = ("torch._dynamo", "torch._inductor")
"""Where torch.compile's own errors are defined."""


def pick_device(name: str) -> torch.device:
    """The device `name` means: auto is the GPU where there is one. Raises UserError for one that is not there.

    A GPU may then choose its fastest convolutions, and TF32 where float32 is asked for; on a CPU there are no more
    threads than cores that may be used.
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
    else:
        _limit_torch_threads()
    return device


def check_compiler(device: torch.device) -> None:
    """Raise UserError where torch.compile cannot compile for `device`: it needs a compiler of C++."""
    try:
        torch.compile(lambda x: x + 1)(torch.zeros(2, device=device))
    except RuntimeError as error:
        raise UserError(
            f"training.compile: {_compiler_reason(error)}; install a C++ compiler (g++), or set it to false"
        ) from None


def raise_compile_error(error: RuntimeError) -> None:
    """Raise UserError where `error` is torch.compile's, and not the network's own that it met while it traced this.

    It goes by names: to import the kinds takes seconds, and only a run that compiles has done so.
    """
    kinds = type(error).__mro__
    if kinds[0].__name__ != "TorchRuntimeError" and any(kind.__module__.startswith(COMPILER) for kind in kinds):
        raise UserError(
            f"training.compile: the network cannot be compiled ({_compiler_reason(error)}); set it to false"
        ) from None


def _compiler_reason(error: RuntimeError) -> str:
    """The first line of what went wrong, without what torch.compile says around it."""
    cause = getattr(error, "inner_exception", error)
    return (str(cause).splitlines() or [type(cause).__name__])[0]


def autocast_context(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context a network runs in: bfloat16 if asked for, or for `auto` on a GPU that has it; else float32."""
    bfloat16 = precision == "bfloat16" or (
        precision == "auto" and device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    )
    return torch.autocast(device.type, torch.bfloat16, enabled=bfloat16)


def _limit_torch_threads() -> None:
    """Have PyTorch keep to a container's quota: it counts the cores of the machine."""
    n_cores = available_cores()
    if n_cores < torch.get_num_threads():
        torch.set_num_threads(n_cores)


def peak_memory_mb(device: torch.device) -> float:
    """Most memory so far: the GPU's allocated, or the process's resident, in 2**20 bytes."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return resident / (2**20 if sys.platform == "darwin" else 2**10)
