"""From checkpoints to a run that predicts."""

import copy
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.fx.experimental.optimization import fuse

from core.errors import UserError
from core.files import hash_files
from predict.decide.fitted_params import Temperatures, read_temperatures
from predict.inference.tagger import Tagger
from recipe import Prediction, Recipe
from train.evaluate.forward import supports_dense
from train.evaluate.window_scorer import WindowScorer
from train.loop.epoch_log import warn_if_interrupted
from train.networks.factory import Activation, AudioNetwork
from train.runs.checkpoint import build_network_from_checkpoint, load_checkpoint, parse_checkpoint_recipe
from train.runs.run_folder import find_best_checkpoints
from train.runs.seen_clips import NO_CLIPS, NO_FRAMES, union


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
    temperatures: Temperatures
    """They calibrate the scores of windows."""
    seen_clips: dict[int, Tensor]
    """int64 hashes of the clips that the networks of each fold were trained on (train.runs.seen_clips)."""
    trained_frames: dict[int, Tensor]
    """int64 [n_clips, 2]: hashes of the names and frames of these clips."""
    versions: dict[str, list[str]]
    """Of Python, packages and the device, by name, those that its networks were trained with."""

    @property
    def networks(self) -> list[AudioNetwork]:
        """Those of all folds."""
        return [network for group in self.folds.values() for network in group]

    @property
    def activation(self) -> Activation:
        """How logits become probabilities."""
        return self.networks[0].activation

    def tagger(self, fold: int | None = None) -> Tagger:
        """All networks blended, or only those that were not trained on the clips of `fold`."""
        networks = [fuse_conv_bn(each) for each in (self.networks if fold is None else self.folds[fold])]
        scorer = WindowScorer(networks, self.prediction, self.frames_per_second, self.recipe.training.precision)
        temperatures = self.temperatures
        return Tagger(scorer, self.labels, temperatures.temperature if fold is None else temperatures.fold_temperature)

    def embedder(self, fold: int) -> Tagger:
        """The first network of `fold` without its last layer: its predictions have embeddings in place of scores.

        A clip's is the mean of its windows'. Raises UserError where the run has no such fold.
        """
        if fold not in self.folds:
            raise UserError(f"--fold {fold}: the run has networks of folds {', '.join(map(str, sorted(self.folds)))}")
        network = fuse_conv_bn(self.folds[fold][0]).embedder()
        prediction = replace(self.prediction, pooling="mean", blend="mean", view_shifts_s=[], view_gains_db=[])
        return Tagger(WindowScorer([network], prediction, self.frames_per_second, self.recipe.training.precision), [])


def fuse_conv_bn(network: AudioNetwork) -> AudioNetwork:
    """A copy of a network in eval mode, with batch normalisation folded into the convolutions before it."""
    fused_network = copy.deepcopy(network)
    fused_network.trunk = nn.Sequential(fuse(network.trunk)).eval()
    return fused_network


def load_run(run_dir: Path, prediction: Prediction, device: torch.device | str = "cpu") -> TrainedRun:
    """The best network of each fold and seed of a run, on `device`.

    Raises UserError where there are none, where they were not trained on the same labels and features, and where
    `prediction.calibrate` asks for a temperature that was not fitted.
    """
    paths = find_best_checkpoints(run_dir)
    if not paths:
        raise UserError(f"{run_dir} holds no fold*/best.pt: run make train first, or name another run with RUN=")
    checkpoints = {path: load_checkpoint(path) for path in paths}
    first = checkpoints[paths[0]]
    recipe, labels, digest = parse_checkpoint_recipe(paths[0], first), list(first.labels), hash_files(paths)
    folds: dict[int, list[AudioNetwork]] = {}
    seen_clips: dict[int, Tensor] = {}
    trained_frames: dict[int, Tensor] = {}
    versions: dict[str, list[str]] = {}
    for path, checkpoint in checkpoints.items():
        same_features = parse_checkpoint_recipe(path, checkpoint).features == recipe.features
        if checkpoint.labels != first.labels or not same_features:
            what = "labels" if same_features else "features"
            raise UserError(f"{path} was trained on other {what} than {paths[0]}: remove one and train again")
        folds.setdefault(checkpoint.fold, []).append(build_network_from_checkpoint(path, checkpoint, device))
        seen_clips[checkpoint.fold] = union(seen_clips.get(checkpoint.fold, NO_CLIPS), checkpoint.seen_clips)
        before = trained_frames.get(checkpoint.fold, NO_FRAMES)
        trained_frames[checkpoint.fold] = torch.cat([before, checkpoint.trained_frames])
        for name, version in checkpoint.versions.items():
            versions[name] = [*dict.fromkeys([*versions.get(name, []), version])]
    fps, temperatures = first.frames_per_second, Temperatures()
    run = TrainedRun(folds, labels, recipe, prediction, fps, digest, temperatures, seen_clips, trained_frames, versions)
    if prediction.mode == "dense" and not all(map(supports_dense, run.networks)):
        network = recipe.network
        clipwise = "network.normalise clip" if network.normalise == "clip" else f"network {network.name}"
        what = "network.modulation_units" if network.modulation_units else clipwise
        print(f"{what} needs each window by itself: prediction.mode is exact", file=sys.stderr)
        run = replace(run, prediction=replace(prediction, mode="exact"))
    return replace(run, temperatures=read_temperatures(run_dir, run.prediction))


def warn_if_unfinished(run_dir: Path, n_epochs: int) -> None:
    """Warn of networks whose training was interrupted, or still goes on."""
    for path in find_best_checkpoints(run_dir):
        warn_if_interrupted(path, n_epochs)
