"""What a network is trained with: versions of Python and of packages, and the device."""

import platform
from functools import cache
from importlib.metadata import version

import torch

PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn")


@cache
def list_versions(device: torch.device) -> dict[str, str]:
    """Versions of Python and PACKAGES, and what `device` is, by name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"Python": platform.python_version(), **{each: version(each) for each in PACKAGES}, "device": name}
