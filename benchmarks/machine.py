"""The machine a benchmark ran on: its name, its versions, and the most arithmetic it gives."""

import platform
import sys
import time
from pathlib import Path

import torch
import torchvision

from core.device import autocast_context, autocast_dtype


def describe_machine(device: torch.device) -> str:
    """The device's name, with the versions that matter."""
    name = (
        torch.cuda.get_device_name(device)
        if device.type == "cuda"
        else f"{_cpu_name()}, {torch.get_num_threads()} threads"
    )
    versions = f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}"
    return f"{name}; {versions}, {sys.platform}"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def matmul_flops_per_s(device: torch.device, precision: str) -> float:
    """Operations a second of the fastest of several large square matrix products in a network's arithmetic.

    For float32 on CUDA in TF32, in which convolutions compute.
    """
    size = 8192 if device.type == "cuda" else 1024 if autocast_dtype(device, precision) == torch.float32 else 128
    a, b = torch.randn(2, size, size, device=device)
    seconds = []
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if device.type == "cuda" else before)
    with autocast_context(device, precision), torch.inference_mode():
        for _ in range(10):
            started = time.perf_counter()
            a @ b
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds.append(time.perf_counter() - started)
    torch.set_float32_matmul_precision(before)
    return 2 * size**3 / min(seconds)
