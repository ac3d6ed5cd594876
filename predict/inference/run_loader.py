"""From checkpoints to a run that predicts."""

import sys
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from core.entrypoint import log_warning
from core.errors import UserError
from core.files import hash_files
from predict.decide.calibration import read_temperature
from predict.inference.fuse_conv_bn import fuse_conv_bn
from predict.inference.tagger import Tagger
from recipe import Prediction, Recipe
from train.evaluate.forward import supports_dense
from train.evaluate.window_scorer import WindowScorer
from train.loop.epoch_log import count_logged_epochs
from train.networks.factory import Activation, AudioNetwork
from train.runs.checkpoint import Checkpoint, build_network_from_checkpoint, load_checkpoint, parse_checkpoint_recipe
from train.runs.run_folder import find_best_checkpoints
from train.runs.seen_clips import NO_CLIPS, union


@dataclass(frozen=True)
class TrainedRun:
    """The networks of a run, by the fold that they were not trained on."""

    folds: dict[int, list[AudioNetwork]]
    labels: list[str]
    recipe: Recipe
    """As it was trained."""
    prediction: Prediction
    """As it is to predict."""
    frames_per_second: float
    digest: str
    """Of all checkpoints."""
    temperature: float = 1.0
    """That calibrates scores of windows."""
    seen_clips: dict[int, Tensor] = field(default_factory=dict)
    """int64 hashes of the clips that the networks of each fold were trained on (train.runs.seen_clips)."""

    @property
    def activation(self) -> Activation:
        """How the networks' logits become probabilities."""
        return next(each.activation for group in self.folds.values() for each in group)

    def tagger(self, fold: int | None = None) -> Tagger:
        """All networks blended, or only those that were not trained on the clips of `fold`."""
        trained = [each for group in self.folds.values() for each in group] if fold is None else self.folds[fold]
        networks = [fuse_conv_bn(each) for each in trained]
        scorer = WindowScorer(networks, self.prediction, self.frames_per_second, self.recipe.training.precision)
        return Tagger(scorer, self.labels, self.temperature)


def load_run(run_dir: Path, prediction: Prediction, device: torch.device | str = "cpu") -> TrainedRun:
    """The best network of each fold and seed of a run, on `device`.

    Raises UserError where there are none, where they were not trained on the same labels and features, and where
    `prediction.calibrate` asks for a temperature that was not fitted.
    """
    paths = find_best_checkpoints(run_dir)
    if not paths:
        raise UserError(f"{run_dir} holds no fold*/best.pt: run make train first, or name another run with RUN=")
    checkpoints = [load_checkpoint(path) for path in paths]
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        _check_compatible(paths[0], checkpoints[0], path, checkpoint)
    folds: dict[int, list[AudioNetwork]] = {}
    seen_clips: dict[int, Tensor] = {}
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        folds.setdefault(checkpoint.fold, []).append(build_network_from_checkpoint(path, checkpoint, device))
        seen_clips[checkpoint.fold] = union(seen_clips.get(checkpoint.fold, NO_CLIPS), checkpoint.seen_clips)
    first, recipe = checkpoints[0], parse_checkpoint_recipe(paths[0], checkpoints[0])
    if prediction.mode == "dense" and not all(supports_dense(each) for group in folds.values() for each in group):
        what = "network.modulation_units" if recipe.network.modulation_units else f"network {recipe.network.name}"
        print(f"{what} needs each window by itself: prediction.mode is exact", file=sys.stderr)
        prediction = replace(prediction, mode="exact")
    temperature = read_temperature(run_dir, prediction)
    return TrainedRun(
        folds,
        list(first.labels),
        recipe,
        prediction,
        first.frames_per_second,
        hash_files(paths),
        temperature,
        seen_clips,
    )


def warn_if_unfinished(run_dir: Path, n_epochs: int) -> None:
    """Warn of networks whose training was interrupted, or still goes on."""
    for path in find_best_checkpoints(run_dir):
        done = count_logged_epochs(path.parent)
        if 0 < done < n_epochs:
            log_warning(
                f"{path} has {done} of {n_epochs} epochs and is used anyway: make train ARGS=--resume finishes it, "
                "deleting its folder leaves it out"
            )


def _check_compatible(first_path: Path, first: Checkpoint, path: Path, other: Checkpoint) -> None:
    """Raise UserError unless two checkpoints are of the same labels and features."""
    for what, mine, its in (
        ("labels", first.labels, other.labels),
        ("features", first.recipe["features"], other.recipe["features"]),
    ):
        if mine != its:
            raise UserError(f"{path} was trained on other {what} than {first_path}: remove one of them and train again")
