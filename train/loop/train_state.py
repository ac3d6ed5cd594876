"""A network and everything that changes while it learns, in one place, so that it can be kept and taken up again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer

from core.errors import BadInput
from recipe import Recipe
from train.data.training_set import Material
from train.loop.ema import MovingAverage
from train.loop.fold_job import Job
from train.loop.optimizer import build_optimizer
from train.loop.rng import seeded_generator
from train.loop.schedule import Schedule, build_schedule
from train.networks.factory import SoundNetwork, network_of
from train.runs.checkpoint import Checkpoint, load_checkpoint
from train.runs.run_folder import best_paths, fold_of
from train.runs.seen_clips import both, first_learnt, marks_of

TAKEN_UP = frozenset({"network", "optimizer", "schedule", "n_steps", "updates", "best"})
"""What last.pt must hold for training to go on."""


@dataclass
class Learner:
    """Its random numbers need no keeping: they depend on seed, fold and epoch alone."""

    network: SoundNetwork
    optimizer: Optimizer
    schedule: Schedule
    average: MovingAverage | None
    n_steps: int
    """Steps of the whole training."""
    lesson: str
    """A digest of the clips it learns from, and of their targets."""
    learnt: Tensor
    """int64 marks of all clips behind it, those of the network it starts from included (train.runs.seen_clips)."""
    origin: str = ""
    """Where its weights come from, in words, if not from chance or ImageNet."""
    epoch: int = 0
    """Epochs behind it."""
    best: float = float("-inf")
    """Highest score so far."""

    @property
    def scored(self) -> SoundNetwork:
        """The network that is scored and kept: the moving average if there is one."""
        return self.average.network if self.average else self.network

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "n_steps": self.n_steps,
            "lesson": self.lesson,
            "updates": self.average.updates if self.average else 0,
            "best": self.best,
        }

    def take_up(self, checkpoint: Checkpoint) -> None:
        """Go on where last.pt was left."""
        state = checkpoint.resume or {}
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.average:
            self.average.network.load_state_dict(checkpoint.network)
            self.average.updates = state["updates"]
        self.epoch, self.best = checkpoint.epoch, state["best"]
        self.learnt = both(self.learnt, checkpoint.learnt)  # clips that are gone since, too


def seed_torch(*keys: int) -> None:
    """Seed PyTorch's own generators, from which new weights and dropout are drawn, by `keys` alone."""
    torch.manual_seed(seeded_generator("cpu", *keys).initial_seed())


def start_learner(job: Job, n_steps: int | None = None) -> Learner:
    """A job's network at its beginning, fresh, ImageNet's or another run's, for the job's steps or `n_steps`."""
    recipe, material, fold, training = job.recipe, job.material, job.fold, job.recipe.training
    n_steps = job.n_steps if n_steps is None else n_steps
    seed_torch(job.seed, fold)
    n_labels = len(material.labels)
    network = network_of(recipe, material.memory.n_bins, n_labels, material.mean, material.std, pretrained=True)
    learnt = marks_of(material.names(material.drawn(fold, training)))
    origin = ""
    if training.start_from:
        path = find_start(Path(training.start_from), fold)
        before = load_checkpoint(path)
        if is_of_data(before, recipe):
            check_unseen(before.learnt, material, fold, f"training.start_from = {path}")
            learnt = both(learnt, before.learnt)
        origin = start_from(network, material.labels, path, before)
    network = network.to(job.device)
    optimizer = build_optimizer(network, training)
    average = MovingAverage(network, training.average) if training.average else None
    schedule = build_schedule(optimizer, training, n_steps)
    return Learner(network, optimizer, schedule, average, n_steps, material.lesson(fold, training), learnt, origin)


def is_of_data(checkpoint: Checkpoint, recipe: Recipe) -> bool:
    """Whether a network may be of a recipe's recordings: those of another dataset may bear the same names.

    make train needs no folder, so it may not have been given, and a recipe's folder may have moved.
    """
    theirs, ours = checkpoint.recipe.get("data", {}), recipe.data
    if any(theirs.get(key) != getattr(ours, key) for key in ("layout", "table")):
        return False
    there, here = (Path(folder or "").expanduser().resolve() for folder in (theirs.get("folder"), ours.folder))
    named = theirs.get("folder") and ours.folder
    return not named or there == here or checkpoint.recipe.get("name") == recipe.name


def check_unseen(
    learnt: Tensor, material: Material, fold: int, whose: str, advice: str = "name a run of the same folds"
) -> None:
    """Raise BadInput where a network that has learnt from clips of a fold is to be, or to teach, one of that fold."""
    if clip := first_learnt(material.names(np.flatnonzero(material.folds == fold)), learnt):
        raise BadInput(
            f"{whose} has learnt from clip {clip!r}, which fold {fold} holds out, so its score would not be out of "
            f"fold: {advice}"
        )


def find_start(path: Path, fold: int) -> Path:
    """The checkpoint to start from: `path`, or in a run's folder that of the same fold, which never saw its clips."""
    return of_fold(path, fold, "training.start_from")[0] if path.is_dir() else path


def of_fold(run_home: Path, fold: int, key: str) -> list[Path]:
    """The best networks of a fold in another run's folder, one a seed. Raises BadInput that names the recipe's key."""
    there = best_paths(run_home)
    same = [each for each in there if fold_of(each.parent) == fold]
    if not same:
        names = ", ".join(each.parent.name for each in there) or "none"
        raise BadInput(f"{key} = {run_home}: no best.pt of fold {fold} ({names} there); name a run that has it")
    return same


def start_from(network: SoundNetwork, labels: list[str], path: Path, other: Checkpoint) -> str:
    """Take the trunk of another run's network, what stands beside it, and the head where the labels are the same.

    The frames' statistics stay one's own.

    Returns what was taken, in words. Raises BadInput where the other network is of another build.
    """
    same_labels = other.labels == labels
    own = network.state_dict()
    taken = {
        name: value
        for name, value in other.network.items()
        if name.startswith(("trunk.", "modulation.")) or (same_labels and name.startswith("head."))
    }
    parts = {name.partition(".")[0] + "." for name in taken} | {"trunk."}  # of which nothing may be left to chance
    wanted = {name for name in own if name.startswith(tuple(parts))}
    if wanted != taken.keys() or any(own[name].shape != value.shape for name, value in taken.items()):
        raise BadInput(
            f"training.start_from = {path}: its network ({other.recipe['network']['name']}) is another build"
        )
    network.load_state_dict(taken, strict=False)
    return f"starting from {path}" + ("" if same_labels else "; its labels are others, so the head is new")
