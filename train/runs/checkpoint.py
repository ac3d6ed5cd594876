"""A network on disk: its weights and all that is needed to use it."""

import platform
from dataclasses import dataclass, field, fields
from functools import cache
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from pydantic import ConfigDict, TypeAdapter, ValidationError, with_config
from torch import Tensor

from core.errors import UserError
from core.files import atomic_write
from recipe import Recipe
from train.networks.factory import AudioNetwork, build_network_from_recipe
from train.networks.weight_files import WeightFileError, check_finite, read_torch_file
from train.runs.seen_clips import NO_CLIPS, NO_FRAMES

FORMAT = 2
PACKAGES = ("torch", "torchvision", "numpy", "scikit-learn")
"""Packages whose versions a checkpoint records."""


@with_config(ConfigDict(arbitrary_types_allowed=True, extra="forbid"))
@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint file: tensors, numbers, strings, and lists and dictionaries of them."""

    network: dict[str, Tensor]
    """Weights and buffers by name, with the mean and deviation of the frames."""
    recipe: dict[str, Any]
    labels: list[str]
    n_bins: int
    frames_per_second: float
    fold: int
    seed: int
    epoch: int
    """Number of trained epochs."""
    score: float
    """By the recipe's metric, on the fold's held-out clips."""
    metrics: dict[str, float] = field(default_factory=dict)
    seen_clips: Tensor = NO_CLIPS
    """int64 hashes of the clips it was trained on, in the run it started from too (train.runs.seen_clips)."""
    trained_frames: Tensor = NO_FRAMES
    """int64 [n_clips, 2]: hashes of their names and frames; for those of the run it started from, 0 and of frames."""
    versions: dict[str, str] = field(default_factory=dict)
    """Of Python and packages, and the device, by name, as it was trained."""
    resume: dict[str, Any] | None = None
    """In last.pt, the state from which training goes on."""
    format: int = FORMAT


_CHECKPOINT, _RECIPE = TypeAdapter(Checkpoint), TypeAdapter(Recipe)


@cache
def list_versions(device: torch.device) -> dict[str, str]:
    """Versions of Python and PACKAGES, and what `device` is, by name."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return {"Python": platform.python_version(), **{each: version(each) for each in PACKAGES}, "device": name}


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint whole or not at all."""
    buffer = BytesIO()  # given a path, torch raises a RuntimeError where the disk is full
    torch.save({each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}, buffer)
    with atomic_write(path) as temporary, buffer.getbuffer() as content:  # closed, else 3.13 complains after an error
        temporary.write_bytes(content)


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU, every byte verified; no code in the file is run. Raises UserError that names it.

    Weights that are not finite are refused.
    """
    try:
        values = read_torch_file(path, checked=True)
        file_format = values.get("format") if isinstance(values, dict) else None
        if not isinstance(file_format, int):
            raise WeightFileError("it holds something else")
        if file_format != FORMAT:
            raise UserError(f"{path} has format {file_format}, this version reads {FORMAT}: train it again")
        checkpoint = _CHECKPOINT.validate_python(values)
        size = sum(tensor.nbytes for tensor in checkpoint.network.values())
        if size > path.stat().st_size:  # views larger than what is stored
            raise WeightFileError("its tensors are larger than the file")
        check_finite(checkpoint.network)
        return checkpoint
    except FileNotFoundError:
        raise UserError(f"{path}: no such checkpoint; run make train first") from None
    except (OSError, WeightFileError, ValidationError) as error:
        reason = describe_invalid(error) if isinstance(error, ValidationError) else error
        raise UserError(f"{path} is no whole checkpoint of this project ({reason}): train it again") from None


def build_network_from_checkpoint(
    path: Path, checkpoint: Checkpoint, device: torch.device | str = "cpu"
) -> AudioNetwork:
    """The network of the checkpoint at `path`, on `device` and in eval mode. Raises UserError for another version's."""
    recipe = parse_checkpoint_recipe(path, checkpoint)
    network = build_network_from_recipe(recipe, checkpoint.n_bins, len(checkpoint.labels))
    try:
        network.load_state_dict(checkpoint.network)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise UserError(f"{path} holds the weights of another version's network ({reason}): train it again") from None
    return network.to(device).eval()


def parse_checkpoint_recipe(path: Path, checkpoint: Checkpoint) -> Recipe:
    """The recipe of the checkpoint at `path`. Raises UserError where this version has other keys."""
    try:
        return _RECIPE.validate_python(checkpoint.recipe)
    except ValidationError as error:
        raise UserError(
            f"{path} was trained by another version's recipe ({describe_invalid(error)}): train it again"
        ) from None


def describe_invalid(error: ValidationError) -> str:
    """The first value that is none of its kind, and why."""
    first = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
