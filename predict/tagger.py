"""From checkpoints to the scores of a clip: what prediction and the server share."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from errors import BadInput
from recipe import Prediction, Recipe
from train.checkpoint import Checkpoint, load_checkpoint, network_from, recipe_of
from train.device import arithmetic
from train.networks import SoundNetwork
from train.validate import score_windows
from train.windows import pool_windows


@dataclass(frozen=True)
class Answer:
    """One clip's windows in seconds of the original recording, and what they come to."""

    start_s: np.ndarray
    """[n_windows]"""
    end_s: np.ndarray
    """[n_windows]; no window leaves the recording."""
    windows: np.ndarray
    """Probabilities [n_windows, n_labels], blended over the networks."""
    scores: np.ndarray
    """Probabilities [n_labels], pooled over the windows."""


@dataclass(frozen=True)
class Tagger:
    """Networks of one run that answer together. Each hears the same windows; their probabilities are averaged."""

    networks: Sequence[SoundNetwork]
    labels: list[str]
    prediction: Prediction
    frames_per_second: float
    precision: str = "float32"
    """Arithmetic of the networks, as in training."""

    def tag(self, frames: Tensor, start_s: float = 0.0, duration_s: float = np.inf) -> Answer:
        """The answer for one clip's frames, float32 [n_frames, n_bins] in the features' unit.

        `start_s` seconds of the recording come before its first frame (below zero: silence was put there), and
        `duration_s` is its length.
        """
        with arithmetic(frames.device, self.precision):
            heard = [score_windows(each, frames, self.prediction, self.frames_per_second) for each in self.networks]
        windows = torch.stack([each.scores for each in heard]).mean(dim=0)
        starts, ends = heard[0].start_frames / self.frames_per_second, heard[0].end_frames / self.frames_per_second
        scores = pool_windows(windows, self.prediction)
        return Answer(
            start_s=np.clip(start_s + starts, 0, duration_s),
            end_s=np.clip(start_s + ends, 0, duration_s),
            windows=windows.cpu().numpy(),
            scores=scores.cpu().numpy(),
        )


@dataclass(frozen=True)
class Run:
    """The networks of a training run, by the fold that none of them saw."""

    folds: dict[int, list[SoundNetwork]]
    labels: list[str]
    recipe: Recipe
    """As it was trained."""
    prediction: Prediction
    """As it is to answer."""
    frames_per_second: float

    def tagger(self, fold: int | None = None) -> Tagger:
        """All networks blended, or only those that never saw the clips of `fold`."""
        networks = [each for group in self.folds.values() for each in group] if fold is None else self.folds[fold]
        return Tagger(networks, self.labels, self.prediction, self.frames_per_second, self.recipe.training.precision)


def load_run(run_home: Path, prediction: Prediction, device: torch.device | str = "cpu") -> Run:
    """The best network of each fold and seed of a run, ready to answer on `device`.

    Raises BadInput where there are none, or where they were not trained on the same labels and features.
    """
    paths = sorted(run_home.glob("fold*/best.pt"))
    if not paths:
        raise BadInput(f"{run_home} holds no fold*/best.pt: run make train first, or name another run with RUN=")
    checkpoints = [load_checkpoint(path) for path in paths]
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        _check_kin(paths[0], checkpoints[0], path, checkpoint)
    folds: dict[int, list[SoundNetwork]] = {}
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        folds.setdefault(checkpoint.fold, []).append(_network(path, checkpoint, device))
    first = checkpoints[0]
    return Run(folds, list(first.labels), recipe_of(first), prediction, first.frames_per_second)


def _network(path: Path, checkpoint: Checkpoint, device: torch.device | str) -> SoundNetwork:
    """The network of a checkpoint. Raises BadInput where its weights are those of another version's network."""
    try:
        return network_from(checkpoint, device)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise BadInput(f"{path} holds the weights of another version's network ({reason}): train it again") from None


def _check_kin(first_path: Path, first: Checkpoint, path: Path, other: Checkpoint) -> None:
    """Raise BadInput unless two checkpoints answer the same question about the same frames."""
    for what, mine, its in (
        ("labels", first.labels, other.labels),
        ("features", first.recipe["features"], other.recipe["features"]),
    ):
        if mine != its:
            raise BadInput(f"{path} was trained on other {what} than {first_path}: remove one of them and train again")
