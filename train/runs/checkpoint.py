"""A network on disk: its weights and all that is needed to use it, saved whole or not at all."""

import pickle
from dataclasses import dataclass, field, fields
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from core.errors import BadInput
from core.files import written_whole
from recipe import SECTIONS, Recipe
from train.networks.factory import SoundNetwork, network_of
from train.networks.weight_files import reason_of
from train.runs.seen_clips import NOTHING

FORMAT = 1


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint file holds: tensors, numbers, strings, and lists and dictionaries of them."""

    network: dict[str, Tensor]
    """Weights and buffers by name; mean and deviation of the frames are among them."""
    recipe: dict[str, Any]
    """The resolved recipe."""
    labels: list[str]
    n_bins: int
    frames_per_second: float
    fold: int
    seed: int
    epoch: int
    """Epochs behind it."""
    score: float
    """By the recipe's metric, on the fold's held-out clips."""
    metrics: dict[str, float] = field(default_factory=dict)
    learnt: Tensor = NOTHING
    """int64 marks of the clips behind it, those of the network it started from included (train.runs.seen_clips)."""
    resume: dict[str, Any] | None = None
    """In last.pt, what training needs to go on."""
    format: int = FORMAT


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint under its name once it is whole."""
    whole = BytesIO()  # to a path, torch answers a full disk with a RuntimeError of its own format
    torch.save({each.name: getattr(checkpoint, each.name) for each in fields(checkpoint)}, whole)
    with written_whole(path) as temporary:
        temporary.write_bytes(whole.getbuffer())


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint onto the CPU; nothing in the file is run. Raises BadInput that names it."""
    try:
        values = torch.load(path, map_location="cpu", weights_only=True)
        if values["format"] != FORMAT:
            raise BadInput(f"{path} has format {values['format']}, this version reads {FORMAT}: train it again")
        return Checkpoint(**values)
    except FileNotFoundError:
        raise BadInput(f"{path}: no such checkpoint; run make train first") from None
    except (OSError, RuntimeError, EOFError, KeyError, TypeError, pickle.UnpicklingError) as error:
        reason = reason_of(error)
        raise BadInput(f"{path} is no whole checkpoint of this project ({reason}): train it again") from None


def network_from(path: Path, checkpoint: Checkpoint, device: torch.device | str = "cpu") -> SoundNetwork:
    """The network of the checkpoint at `path`, on `device` and in eval mode.

    Raises BadInput where its recipe or its weights are those of another version.
    """
    network = network_of(recipe_of(path, checkpoint), checkpoint.n_bins, len(checkpoint.labels))
    try:
        network.load_state_dict(checkpoint.network)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadInput(f"{path} holds the weights of another version's network ({reason}): train it again") from None
    return network.to(device).eval()


def recipe_of(path: Path, checkpoint: Checkpoint) -> Recipe:
    """The recipe that the checkpoint at `path` was trained by. Raises BadInput where this version has other keys."""
    values = checkpoint.recipe
    try:
        sections: dict[str, Any] = {name: section(**values.get(name, {})) for name, section in SECTIONS.items()}
        return Recipe(values["name"], **sections)
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path} was trained by another version's recipe ({error}): train it again") from None
