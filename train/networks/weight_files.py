"""Files of tensors, read so that a damaged one is refused and no code in it is run."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor

from core.errors import UserError, is_out_of_memory


class WeightFileError(Exception):
    """What is wrong with a file of tensors, in words."""


def read_torch_file(path: Path, *, checked: bool = False) -> Any:
    """What torch.save wrote, on the CPU; a ZIP file's CRCs are verified. Raises WeightFileError, FileNotFoundError.

    `checked` refuses a file without CRCs, as PyTorch wrote before 1.6.
    """
    try:
        if checked or zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if damaged := archive.testzip():
                    raise WeightFileError(f"{damaged} in it is damaged")
        return torch.load(path, map_location="cpu", weights_only=True)
    except (FileNotFoundError, WeightFileError):
        raise
    except (zipfile.BadZipFile, EOFError, NotImplementedError):
        raise WeightFileError("it is cut short, damaged, or no file of torch.save") from None
    except Exception as error:  # a file made to do harm has many; PyTorch's advice on it is to run what is in it
        if is_out_of_memory(error) or isinstance(error, OSError):
            raise
        raise WeightFileError("it is damaged, or holds more than tensors") from None


def read_tensors(path: Path, key: str) -> dict[str, Any]:
    """Tensors by name from a .safetensors or a PyTorch file. Raises UserError naming the recipe's `key`."""
    try:
        state = safetensors.torch.load_file(path) if path.suffix == ".safetensors" else read_torch_file(path)
        if not isinstance(state, dict):
            raise WeightFileError(f"it holds {type(state).__name__}, not tensors by name")
        check_finite(state)
        return state
    except FileNotFoundError:
        raise UserError(f"{key} = {path}: no such file") from None
    except (OSError, WeightFileError, safetensors.SafetensorError) as error:
        raise UserError(f"{key} = {path}: cannot be read as weights ({error})") from None


def check_finite(state: Mapping[str, Any]) -> None:
    """Raise WeightFileError that names the first tensor with numbers that are not finite."""
    for name, tensor in state.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point() and not tensor.isfinite().all():
            raise WeightFileError(f"its {name} has numbers that are not finite")
