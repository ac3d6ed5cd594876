"""A network and all that changes while it is trained, which last.pt keeps."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel

from core.device import autocast_dtype
from core.errors import UserError
from preprocess.dataset.discovery import expand_user
from recipe import Recipe, get_section
from train.data.random_streams import seed_torch
from train.data.training_set import TrainingSet
from train.loop.fold_job import FoldJob
from train.loop.optimizer import build_optimizer, build_schedule, create_ema_model
from train.networks.factory import AudioNetwork, build_network_from_recipe
from train.runs.checkpoint import Checkpoint, load_checkpoint
from train.runs.run_folder import find_fold_checkpoints
from train.runs.seen_clips import NO_CLIPS, find_trained_clip, union, without_names

RESUME_KEYS = frozenset({"network", "optimizer", "schedule", "n_steps", "n_averaged", "best", "data_digest"})
"""What last.pt must hold for training to go on."""


@dataclass
class TrainState:
    """It holds no random numbers: they depend on seed, fold and epoch alone."""

    network: AudioNetwork
    optimizer: Optimizer
    schedule: LRScheduler
    scaler: torch.amp.GradScaler
    """Of the loss; for float16 alone, in which small gradients vanish."""
    ema: AveragedModel | None
    seen_clips: Tensor
    """int64 hashes of all clips it was trained on, in the run it started from too (train.runs.seen_clips)."""
    trained_frames: Tensor
    """int64 [n_clips, 2]: hashes of their names and frames; for those of the run it started from, 0 and of frames."""
    weights_origin: str = ""
    """Where another run's weights come from, in words."""
    epoch: int = 0
    """Number of trained epochs."""
    best_score: float = float("-inf")

    @property
    def eval_network(self) -> AudioNetwork:
        """The network that is scored and kept: the moving average if there is one."""
        return cast(AudioNetwork, self.ema.module) if self.ema else self.network

    def state_dict(self) -> dict[str, Any]:
        return {
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "scaler": self.scaler.state_dict(),
            "n_averaged": int(self.ema.n_averaged) if self.ema else 0,
            "best": self.best_score,
        }

    def load_resume_state(self, checkpoint: Checkpoint) -> None:
        """Take the state of last.pt."""
        state = checkpoint.resume or {}
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if state["schedule"]:  # empty in earlier versions' runs of a constant rate
            self.schedule.load_state_dict(state["schedule"])
        if state.get("scaler"):  # empty but for float16
            self.scaler.load_state_dict(state["scaler"])
        if self.ema:
            self.eval_network.load_state_dict(checkpoint.network)
            self.ema.n_averaged.fill_(state["n_averaged"])
        self.epoch, self.best_score = checkpoint.epoch, state["best"]
        self.seen_clips = union(self.seen_clips, checkpoint.seen_clips)  # also clips that are no longer in the data


def create_train_state(job: FoldJob, n_steps: int | None = None) -> TrainState:
    """A job's network with fresh, ImageNet's or another run's weights, for the job's steps or `n_steps`."""
    recipe, training_set, fold, training = job.recipe, job.training_set, job.fold, job.recipe.training
    n_bins, labels = training_set.frame_bank.n_bins, training_set.labels
    seed_torch("weights", job.seed, fold)
    rows = training_set.training_rows(fold, training)
    mean, std = training_set.normalisation(rows, by_bin=recipe.network.normalise == "bins")
    network = build_network_from_recipe(recipe, n_bins, len(labels), mean, std, pretrained=True)
    trained_frames = job.trained_frames
    seen_clips = trained_frames[:, 0].clone()
    weights_origin = ""
    if training.start_from:
        seeds = find_fold_checkpoints(training.start_from, fold, "training.start_from")
        path = seeds[(job.seed - training.seed) % len(seeds)]
        start = load_checkpoint(path)
        if not may_share_dataset(start, recipe):
            start = replace(start, seen_clips=NO_CLIPS)
        check_leakage(start, training_set, fold, f"training.start_from = {path}")
        seen_clips = union(seen_clips, start.seen_clips)
        trained_frames = torch.cat([trained_frames, without_names(start.trained_frames)])
        weights_origin = load_pretrained_weights(network, labels, path, start)
    network = network.to(job.device)
    dtype = autocast_dtype(job.device, training.precision)
    optimizer = build_optimizer(network, training)
    ema = create_ema_model(network, training.ema_decay) if training.ema_decay else None
    schedule = build_schedule(optimizer, training, n_steps or job.stage_steps(0))
    scaler = torch.amp.GradScaler(job.device.type, enabled=dtype == torch.float16)
    return TrainState(network, optimizer, schedule, scaler, ema, seen_clips, trained_frames, weights_origin)


def may_share_dataset(checkpoint: Checkpoint, recipe: Recipe) -> bool:
    """Whether a network may be trained on a recipe's recordings; another dataset's may have the same names.

    Folders say little: make train needs none, and they may have moved.
    """
    theirs, ours = get_section(checkpoint.recipe, "data"), recipe.data
    there, here = (expand_user(each or "", "data.folder").resolve() for each in (theirs.get("folder"), ours.folder))
    named = theirs.get("folder") and ours.folder
    if named and there == here:
        return True
    same_kind = all(theirs.get(key) == getattr(ours, key) for key in ("layout", "table"))
    return same_kind and (not named or checkpoint.recipe.get("name") == recipe.name)


def check_leakage(
    checkpoint: Checkpoint,
    training_set: TrainingSet,
    fold: int,
    source: str,
    advice: str = "name a run of the same folds",
) -> None:
    """Raise UserError where a network that was trained on clips of `fold` is a start or a teacher of that fold's."""
    bank, held_out = training_set.frame_bank, training_set.folds == fold
    if clip := find_trained_clip(bank.clips, bank.digests, held_out, checkpoint.seen_clips, checkpoint.trained_frames):
        raise UserError(
            f"{source} was trained on clip {clip!r}, which fold {fold} holds out, so its score would not be out of "
            f"fold: {advice}"
        )


def load_pretrained_weights(network: AudioNetwork, labels: list[str], path: Path, other: Checkpoint) -> str:
    """Load the filters, the trunk and the modulation units of another run's network, and the head of the same labels.

    The statistics of the frames stay. Returns what was loaded, in words. Raises UserError for another architecture.
    """
    same_labels = other.labels == labels
    own = network.state_dict()
    loaded_parts = ["filterbank.filters.", "filterbank.gain", "trunk.", "modulation.", *["head."] * same_labels]
    # Every weight of a part that is loaded must come from the other network.
    parts = tuple(each for each in loaded_parts if any(name.startswith(each) for name in other.network))
    transferred = {name: value for name, value in other.network.items() if name.startswith(parts)}
    expected = {name for name in own if name.startswith((*parts, "trunk."))}
    if expected != transferred.keys() or any(own[name].shape != value.shape for name, value in transferred.items()):
        raise UserError(
            f"training.start_from = {path}: its network ({get_section(other.recipe, 'network').get('name')}) is "
            "another build: give section network as its recipe has it"
        )
    network.load_state_dict(transferred, strict=False)
    return f"starting from {path}" + ("" if same_labels else "; its labels are others, so the head is new")
