"""A network and everything that changes while it learns, in one place, so that it can be kept and taken up again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.swa_utils import AveragedModel

from core.errors import UserError
from recipe import Recipe
from train.data.training_set import TrainingSet
from train.loop.ema import create_ema_model
from train.loop.fold_job import FoldJob
from train.loop.optimizer import build_optimizer
from train.loop.rng import seeded_generator
from train.loop.schedule import Schedule, build_schedule
from train.networks.factory import AudioNetwork, build_network_from_recipe
from train.runs.checkpoint import Checkpoint, load_checkpoint
from train.runs.run_folder import find_best_checkpoints, parse_fold_number
from train.runs.seen_clips import find_seen_clip, hash_names, union

RESUME_KEYS = frozenset({"network", "optimizer", "schedule", "n_steps", "n_averaged", "best"})
"""What last.pt must hold for training to go on."""


@dataclass
class TrainState:
    """Its random numbers need no keeping: they depend on seed, fold and epoch alone."""

    network: AudioNetwork
    optimizer: Optimizer
    schedule: Schedule
    ema: AveragedModel | None
    n_steps: int
    """Steps of the whole training."""
    training_data_digest: str
    """A digest of the clips it learns from, and of their targets."""
    seen_clips: Tensor
    """int64 hashes of all clips behind it, those of the network it starts from included (train.runs.seen_clips)."""
    weights_origin: str = ""
    """Where its weights come from, in words, if not from chance or ImageNet."""
    epoch: int = 0
    """Epochs behind it."""
    best_score: float = float("-inf")
    """Highest score so far."""

    @property
    def eval_network(self) -> AudioNetwork:
        """The network that is scored and kept: the moving average if there is one."""
        return cast(AudioNetwork, self.ema.module) if self.ema else self.network

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "n_steps": self.n_steps,
            "training_data_digest": self.training_data_digest,
            "n_averaged": int(self.ema.n_averaged) if self.ema else 0,
            "best": self.best_score,
        }

    def load_resume_state(self, checkpoint: Checkpoint) -> None:
        """Go on where last.pt was left."""
        state = checkpoint.resume or {}
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        if self.ema:
            self.eval_network.load_state_dict(checkpoint.network)
            self.ema.n_averaged.fill_(state["n_averaged"])
        self.epoch, self.best_score = checkpoint.epoch, state["best"]
        self.seen_clips = union(self.seen_clips, checkpoint.seen_clips)  # clips that are gone since, too


def seed_torch(*keys: int) -> None:
    """Seed PyTorch's own generators, from which new weights and dropout are drawn, by `keys` alone."""
    torch.manual_seed(seeded_generator("cpu", *keys).initial_seed())


def create_train_state(job: FoldJob, n_steps: int | None = None) -> TrainState:
    """A job's network at its beginning, fresh, ImageNet's or another run's, for the job's steps or `n_steps`."""
    recipe, training_set, fold, training = job.recipe, job.training_set, job.fold, job.recipe.training
    n_steps = job.n_steps if n_steps is None else n_steps
    seed_torch(job.seed, fold)
    n_labels = len(training_set.labels)
    network = build_network_from_recipe(
        recipe, training_set.frame_bank.n_bins, n_labels, training_set.mean, training_set.std, pretrained=True
    )
    seen_clips = hash_names(training_set.clip_names(training_set.training_rows(fold, training)))
    weights_origin = ""
    if training.start_from:
        path = find_start_checkpoint(Path(training.start_from), fold)
        start_checkpoint = load_checkpoint(path)
        if may_share_dataset(start_checkpoint, recipe):
            check_leakage(start_checkpoint.seen_clips, training_set, fold, f"training.start_from = {path}")
            seen_clips = union(seen_clips, start_checkpoint.seen_clips)
        weights_origin = load_pretrained_weights(network, training_set.labels, path, start_checkpoint)
    network = network.to(job.device)
    optimizer = build_optimizer(network, training)
    ema = create_ema_model(network, training.ema_decay) if training.ema_decay else None
    schedule = build_schedule(optimizer, training, n_steps)
    return TrainState(
        network,
        optimizer,
        schedule,
        ema,
        n_steps,
        training_set.training_data_digest(fold, training),
        seen_clips,
        weights_origin,
    )


def may_share_dataset(checkpoint: Checkpoint, recipe: Recipe) -> bool:
    """Whether a network may be of a recipe's recordings: those of another dataset may bear the same names.

    make train needs no folder, so it may not have been given, and a recipe's folder may have moved.
    """
    theirs, ours = checkpoint.recipe.get("data", {}), recipe.data
    if any(theirs.get(key) != getattr(ours, key) for key in ("layout", "table")):
        return False
    there, here = (Path(folder or "").expanduser().resolve() for folder in (theirs.get("folder"), ours.folder))
    named = theirs.get("folder") and ours.folder
    return not named or there == here or checkpoint.recipe.get("name") == recipe.name


def check_leakage(
    seen_clips: Tensor, training_set: TrainingSet, fold: int, source: str, advice: str = "name a run of the same folds"
) -> None:
    """Raise UserError where a network that has learnt from clips of a fold is to be, or to teach, one of that fold."""
    if clip := find_seen_clip(training_set.clip_names(np.flatnonzero(training_set.folds == fold)), seen_clips):
        raise UserError(
            f"{source} has learnt from clip {clip!r}, which fold {fold} holds out, so its score would not be out of "
            f"fold: {advice}"
        )


def find_start_checkpoint(path: Path, fold: int) -> Path:
    """The checkpoint to start from: `path`, or in a run's folder that of the same fold, which never saw its clips."""
    return find_fold_checkpoints(path, fold, "training.start_from")[0] if path.is_dir() else path


def find_fold_checkpoints(run_dir: Path, fold: int, key: str) -> list[Path]:
    """The best networks of a fold in another run's folder, one a seed. Raises UserError that names the recipe's key."""
    best_paths = find_best_checkpoints(run_dir)
    same_fold = [each for each in best_paths if parse_fold_number(each.parent) == fold]
    if not same_fold:
        found = ", ".join(each.parent.name for each in best_paths) or "none"
        raise UserError(f"{key} = {run_dir}: no best.pt of fold {fold} ({found} there); name a run that has it")
    return same_fold


def load_pretrained_weights(network: AudioNetwork, labels: list[str], path: Path, other: Checkpoint) -> str:
    """Take the trunk of another run's network, what stands beside it, and the head where the labels are the same.

    The frames' statistics stay one's own.

    Returns what was taken, in words. Raises UserError where the other network is of another build.
    """
    same_labels = other.labels == labels
    own = network.state_dict()
    transferred = {
        name: value
        for name, value in other.network.items()
        if name.startswith(("trunk.", "modulation.")) or (same_labels and name.startswith("head."))
    }
    # Nothing of these may be left to chance.
    parts = {name.partition(".")[0] + "." for name in transferred} | {"trunk."}
    expected = {name for name in own if name.startswith(tuple(parts))}
    if expected != transferred.keys() or any(own[name].shape != value.shape for name, value in transferred.items()):
        raise UserError(
            f"training.start_from = {path}: its network ({other.recipe['network']['name']}) is another build"
        )
    network.load_state_dict(transferred, strict=False)
    return f"starting from {path}" + ("" if same_labels else "; its labels are others, so the head is new")
