"""From checkpoints to the scores of a clip: what prediction and the server share."""

import itertools
import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.device import arithmetic
from core.entrypoint import warn
from core.errors import BadInput
from core.files import digest_of
from predict.decide.calibration import read_temperature, soften
from predict.inference.forward import can_share, score_clips
from predict.inference.fused import fused
from predict.inference.views import View, reach_of, views_of
from predict.inference.windowing import Plan, Span
from recipe import Prediction, Recipe
from train.evaluate.blend import blend
from train.evaluate.score_clips import window_frames
from train.evaluate.windows import pool_windows
from train.loop.epoch_log import epochs_done
from train.networks.factory import Activation, SoundNetwork
from train.runs.checkpoint import Checkpoint, load_checkpoint, network_from, recipe_of
from train.runs.run_folder import best_paths
from train.runs.seen_clips import NOTHING, both


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
    """Probabilities [n_labels], pooled over the windows; the mean of those of the recording and its copies."""
    copies: Sequence[np.ndarray] = ()
    """Probabilities [n_windows, n_labels] of offline copies, heard as views of the recording."""

    @property
    def views(self) -> list[np.ndarray]:
        """Probabilities [n_windows, n_labels] of the recording, and of each of its copies."""
        return [self.windows, *self.copies]


@dataclass(frozen=True)
class Heard:
    """Some windows of one clip."""

    start_frames: np.ndarray
    """[n_windows] int64"""
    scores: np.ndarray
    """Probabilities [n_windows, n_labels], blended over the networks."""


@dataclass(frozen=True)
class Tagger:
    """Networks of one run that answer together: each hears the same windows, and their probabilities are blended."""

    networks: Sequence[SoundNetwork]
    labels: list[str]
    prediction: Prediction
    frames_per_second: float
    precision: str = "float32"
    """Arithmetic of the networks, as in training."""
    temperature: float = 1.0
    """That calibrates scores of windows."""

    def tag(self, frames: Tensor, start_s: float = 0.0, duration_s: float = np.inf) -> Answer:
        """The answer for one clip's frames, float32 [n_frames, n_bins] in the features' unit.

        `start_s` seconds of the recording come before its first frame (below zero: silence was put there), and
        `duration_s` is its length.
        """
        return self.answer(self.hear([frames]), start_s, duration_s)

    def hear(self, blocks: Iterable[Tensor]) -> list[Heard]:
        """All windows of one clip, as its frames arrive in blocks [n, n_bins] of any size."""
        return [part for span in self.spans(blocks) for part in self.score([span])]

    def spans(self, blocks: Iterable[Tensor], skip: int = 0) -> Iterator[Span]:
        """The windows of one clip, some at a time, as its frames arrive in blocks [n, n_bins] of any size.

        The first `skip` spans have been heard before, and are passed over.
        """
        window, hop = window_frames(self.prediction, self.frames_per_second)
        step = math.lcm(*(network.frames_per_column for network in self.networks))
        margin = reach_of(self._views(), window) + (window if self.prediction.mode == "dense" else 0)
        return itertools.islice(Plan(window, hop, margin, step).spans(blocks), skip, None)

    def score(self, spans: Sequence[Span]) -> list[Heard]:
        """The windows of spans of any clips, scored together."""
        if not spans:
            return []
        views = self._views()
        with arithmetic(spans[0].frames.device, self.precision):
            scores = [self._score(network, spans, view) for network in self.networks for view in views]
        by_network = torch.stack(scores).unflatten(0, (len(self.networks), len(views))).mean(1)
        blended = blend(by_network, self.prediction.blend).cpu()
        parts = blended.split([len(span.starts) for span in spans])
        return [Heard(span.starts, part.numpy()) for span, part in zip(spans, parts, strict=True)]

    def _views(self) -> list[View]:
        return views_of(self.prediction, self.frames_per_second)

    def _score(self, network: SoundNetwork, spans: Sequence[Span], view: View) -> Tensor:
        """One network's probabilities [n_windows, n_labels] of one view of all windows."""
        window, _ = window_frames(self.prediction, self.frames_per_second)
        heard = [
            (view.louder(span.frames, network.kind), view.starts(span.starts - span.first, window, len(span.frames)))
            for span in spans
        ]
        return score_clips(network, heard, view.window, dense=self.prediction.mode == "dense")

    def answer(
        self, heard: Sequence[Heard], start_s: float, duration_s: float, copies: Sequence[Sequence[Heard]] = ()
    ) -> Answer:
        """What all windows of a clip come to, and those of its copies."""
        window, _ = window_frames(self.prediction, self.frames_per_second)
        starts = np.concatenate([part.start_frames for part in heard])
        windows = [self._calibrated(each) for each in (heard, *copies)]
        return Answer(
            start_s=np.clip(start_s + starts / self.frames_per_second, 0, duration_s),
            end_s=np.clip(start_s + (starts + window) / self.frames_per_second, 0, duration_s),
            windows=windows[0].numpy(),
            scores=pool_views(windows, self.prediction).numpy(),
            copies=[each.numpy() for each in windows[1:]],
        )

    def _calibrated(self, heard: Sequence[Heard]) -> Tensor:
        """Probabilities [n_windows, n_labels] of a clip at the run's temperature."""
        scores = torch.from_numpy(np.concatenate([part.scores for part in heard]))
        return soften(scores, self.temperature, self.networks[0].activation)


def pool_views(windows: Sequence[Tensor], prediction: Prediction) -> Tensor:
    """Scores [n_labels] of a clip, pooled over the windows [n_windows, n_labels] of each of its views."""
    return torch.stack([pool_windows(each, prediction) for each in windows]).mean(0)


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
    digest: str
    """Of all checkpoints."""
    temperature: float = 1.0
    """That calibrates scores of windows."""
    learnt: dict[int, Tensor] = field(default_factory=dict)
    """int64 marks of the clips that the networks of each fold have learnt from (train.runs.seen_clips)."""

    @property
    def activation(self) -> Activation:
        """How the networks' logits become probabilities."""
        return next(each.activation for group in self.folds.values() for each in group)

    def tagger(self, fold: int | None = None) -> Tagger:
        """All networks blended, or only those that never saw the clips of `fold`."""
        trained = [each for group in self.folds.values() for each in group] if fold is None else self.folds[fold]
        networks = [fused(each) for each in trained]
        precision = self.recipe.training.precision
        return Tagger(
            networks, self.labels, self.prediction, self.frames_per_second, precision, temperature=self.temperature
        )


def load_run(run_home: Path, prediction: Prediction, device: torch.device | str = "cpu") -> Run:
    """The best network of each fold and seed of a run, ready to answer on `device`.

    Raises BadInput where there are none, where they were not trained on the same labels and features, and where
    `prediction.calibrate` asks for a temperature that was not fitted.
    """
    paths = best_paths(run_home)
    if not paths:
        raise BadInput(f"{run_home} holds no fold*/best.pt: run make train first, or name another run with RUN=")
    checkpoints = [load_checkpoint(path) for path in paths]
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        _check_kin(paths[0], checkpoints[0], path, checkpoint)
    folds: dict[int, list[SoundNetwork]] = {}
    learnt: dict[int, Tensor] = {}
    for path, checkpoint in zip(paths, checkpoints, strict=True):
        folds.setdefault(checkpoint.fold, []).append(network_from(path, checkpoint, device))
        learnt[checkpoint.fold] = both(learnt.get(checkpoint.fold, NOTHING), checkpoint.learnt)
    first, recipe = checkpoints[0], recipe_of(paths[0], checkpoints[0])
    if prediction.mode == "dense" and not all(can_share(each) for group in folds.values() for each in group):
        what = "network.modulation_units" if recipe.network.modulation_units else f"network {recipe.network.name}"
        print(f"{what} needs each window by itself: prediction.mode is exact", file=sys.stderr)
        prediction = replace(prediction, mode="exact")
    temperature = read_temperature(run_home, prediction)
    return Run(
        folds, list(first.labels), recipe, prediction, first.frames_per_second, digest_of(paths), temperature, learnt
    )


def warn_of_unfinished(run_home: Path, n_epochs: int) -> None:
    """Say which of the networks that answer are of a training that was interrupted, or is still going on."""
    for path in best_paths(run_home):
        done = epochs_done(path.parent)
        if 0 < done < n_epochs:
            warn(
                f"{path} is of {done} epochs of {n_epochs}, and answers all the same: "
                "make train ARGS=--resume finishes it, deleting its folder leaves it out"
            )


def _check_kin(first_path: Path, first: Checkpoint, path: Path, other: Checkpoint) -> None:
    """Raise BadInput unless two checkpoints answer the same question about the same frames."""
    for what, mine, its in (
        ("labels", first.labels, other.labels),
        ("features", first.recipe["features"], other.recipe["features"]),
    ):
        if mine != its:
            raise BadInput(f"{path} was trained on other {what} than {first_path}: remove one of them and train again")
