"""Files of tensors that others wrote; nothing in them is run."""

import pickle
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch

from core.errors import UserError


def read_tensors(path: Path, key: str) -> dict[str, Any]:
    """Tensors by name from a .safetensors or a PyTorch file; nothing in it is run. Raises UserError naming `key`."""
    try:
        if path.suffix == ".safetensors":
            return dict(safetensors.torch.load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise UserError(f"{key} = {path}: no such file") from None
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, safetensors.SafetensorError) as error:
        reason = describe_load_error(error)
        raise UserError(f"{key} = {path}: cannot be read as weights ({reason})") from None
    if not isinstance(state, dict):
        raise UserError(f"{key} = {path}: holds {type(state).__name__}, not tensors by name")
    return state


def describe_load_error(error: Exception) -> str:
    """Why a file of tensors cannot be read, in a line; PyTorch's own advice is to run what is in it."""
    if isinstance(error, pickle.UnpicklingError):
        return "no file of torch.save, or one of more than tensors"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
