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

from core.device import autocast_context
from core.entrypoint import log_warning
from core.errors import UserError
from core.files import hash_files
from predict.decide.calibration import apply_temperature, read_temperature
from predict.inference.forward import forward_windows, supports_dense
from predict.inference.fuse_conv_bn import fuse_conv_bn
from predict.inference.tta import View, make_views, view_margin
from predict.inference.windowing import WindowChunk, WindowPlan
from recipe import Prediction, Recipe
from train.evaluate.blend import blend
from train.evaluate.score_clips import window_and_hop_frames
from train.evaluate.windows import pool_windows
from train.loop.epoch_log import count_logged_epochs
from train.networks.factory import Activation, AudioNetwork
from train.runs.checkpoint import Checkpoint, build_network_from_checkpoint, load_checkpoint, parse_checkpoint_recipe
from train.runs.run_folder import find_best_checkpoints
from train.runs.seen_clips import NO_CLIPS, union


@dataclass(frozen=True)
class ClipPrediction:
    """One clip's windows in seconds of the original recording, and what they come to."""

    start_s: np.ndarray
    """[n_windows]"""
    end_s: np.ndarray
    """[n_windows]; no window leaves the recording."""
    windows: np.ndarray
    """Probabilities [n_windows, n_labels], blended over the networks."""
    scores: np.ndarray
    """Probabilities [n_labels], pooled over the windows; the mean of those of the recording and its copies."""
    augmented_views: Sequence[np.ndarray] = ()
    """Probabilities [n_windows, n_labels] of offline copies, heard as views of the recording."""

    @property
    def views(self) -> list[np.ndarray]:
        """Probabilities [n_windows, n_labels] of the recording, and of each of its copies."""
        return [self.windows, *self.augmented_views]


@dataclass(frozen=True)
class WindowScores:
    """Some windows of one clip."""

    start_frames: np.ndarray
    """[n_windows] int64"""
    scores: np.ndarray
    """Probabilities [n_windows, n_labels], blended over the networks."""


@dataclass(frozen=True)
class Tagger:
    """Networks of one run that answer together: each hears the same windows, and their probabilities are blended."""

    networks: Sequence[AudioNetwork]
    labels: list[str]
    prediction: Prediction
    frames_per_second: float
    precision: str = "float32"
    """Arithmetic of the networks, as in training."""
    temperature: float = 1.0
    """That calibrates scores of windows."""

    def tag(self, frames: Tensor, start_s: float = 0.0, duration_s: float = np.inf) -> ClipPrediction:
        """The answer for one clip's frames, float32 [n_frames, n_bins] in the features' unit.

        `start_s` seconds of the recording come before its first frame (below zero: silence was put there), and
        `duration_s` is its length.
        """
        return self.pool_clip(self.score_blocks([frames]), start_s, duration_s)

    def score_blocks(self, blocks: Iterable[Tensor]) -> list[WindowScores]:
        """All windows of one clip, as its frames arrive in blocks [n, n_bins] of any size."""
        return [part for chunk in self.iter_chunks(blocks) for part in self.score_chunks([chunk])]

    def iter_chunks(self, blocks: Iterable[Tensor], skip: int = 0) -> Iterator[WindowChunk]:
        """The windows of one clip, some at a time, as its frames arrive in blocks [n, n_bins] of any size.

        The first `skip` spans have been heard before, and are passed over.
        """
        window, hop = window_and_hop_frames(self.prediction, self.frames_per_second)
        alignment = math.lcm(*(network.time_stride for network in self.networks))
        margin = view_margin(self._tta_views(), window) + (window if self.prediction.mode == "dense" else 0)
        return itertools.islice(WindowPlan(window, hop, margin, alignment).iter_chunks(blocks), skip, None)

    def score_chunks(self, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        """The windows of spans of any clips, scored together."""
        if not chunks:
            return []
        views = self._tta_views()
        with autocast_context(chunks[0].frames.device, self.precision):
            scores = [self._score_view(network, chunks, view) for network in self.networks for view in views]
        by_network = torch.stack(scores).unflatten(0, (len(self.networks), len(views))).mean(1)
        blended = blend(by_network, self.prediction.blend).cpu()
        parts = blended.split([len(chunk.starts) for chunk in chunks])
        return [WindowScores(chunk.starts, part.numpy()) for chunk, part in zip(chunks, parts, strict=True)]

    def _tta_views(self) -> list[View]:
        return make_views(self.prediction, self.frames_per_second)

    def _score_view(self, network: AudioNetwork, chunks: Sequence[WindowChunk], view: View) -> Tensor:
        """One network's probabilities [n_windows, n_labels] of one view of all windows."""
        window, _ = window_and_hop_frames(self.prediction, self.frames_per_second)
        windowed = [
            (
                view.apply_gain(chunk.frames, network.kind),
                view.shift_starts(chunk.starts - chunk.first, window, len(chunk.frames)),
            )
            for chunk in chunks
        ]
        return forward_windows(network, windowed, view.window, dense=self.prediction.mode == "dense")

    def pool_clip(
        self,
        window_scores: Sequence[WindowScores],
        start_s: float,
        duration_s: float,
        augmented_views: Sequence[Sequence[WindowScores]] = (),
    ) -> ClipPrediction:
        """What all windows of a clip come to, and those of its copies."""
        window, _ = window_and_hop_frames(self.prediction, self.frames_per_second)
        starts = np.concatenate([part.start_frames for part in window_scores])
        windows = [self._calibrate(each) for each in (window_scores, *augmented_views)]
        return ClipPrediction(
            start_s=np.clip(start_s + starts / self.frames_per_second, 0, duration_s),
            end_s=np.clip(start_s + (starts + window) / self.frames_per_second, 0, duration_s),
            windows=windows[0].numpy(),
            scores=pool_views(windows, self.prediction).numpy(),
            augmented_views=[each.numpy() for each in windows[1:]],
        )

    def _calibrate(self, window_scores: Sequence[WindowScores]) -> Tensor:
        """Probabilities [n_windows, n_labels] of a clip at the run's temperature."""
        scores = torch.from_numpy(np.concatenate([part.scores for part in window_scores]))
        return apply_temperature(scores, self.temperature, self.networks[0].activation)


def pool_views(windows: Sequence[Tensor], prediction: Prediction) -> Tensor:
    """Scores [n_labels] of a clip, pooled over the windows [n_windows, n_labels] of each of its views."""
    return torch.stack([pool_windows(each, prediction) for each in windows]).mean(0)


@dataclass(frozen=True)
class TrainedRun:
    """The networks of a training run, by the fold that none of them saw."""

    folds: dict[int, list[AudioNetwork]]
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
    seen_clips: dict[int, Tensor] = field(default_factory=dict)
    """int64 marks of the clips that the networks of each fold have learnt from (train.runs.seen_clips)."""

    @property
    def activation(self) -> Activation:
        """How the networks' logits become probabilities."""
        return next(each.activation for group in self.folds.values() for each in group)

    def tagger(self, fold: int | None = None) -> Tagger:
        """All networks blended, or only those that never saw the clips of `fold`."""
        trained = [each for group in self.folds.values() for each in group] if fold is None else self.folds[fold]
        networks = [fuse_conv_bn(each) for each in trained]
        precision = self.recipe.training.precision
        return Tagger(
            networks, self.labels, self.prediction, self.frames_per_second, precision, temperature=self.temperature
        )


def load_run(run_dir: Path, prediction: Prediction, device: torch.device | str = "cpu") -> TrainedRun:
    """The best network of each fold and seed of a run, ready to answer on `device`.

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
    """Say which of the networks that answer are of a training that was interrupted, or is still going on."""
    for path in find_best_checkpoints(run_dir):
        done = count_logged_epochs(path.parent)
        if 0 < done < n_epochs:
            log_warning(
                f"{path} is of {done} epochs of {n_epochs}, and answers all the same: "
                "make train ARGS=--resume finishes it, deleting its folder leaves it out"
            )


def _check_compatible(first_path: Path, first: Checkpoint, path: Path, other: Checkpoint) -> None:
    """Raise UserError unless two checkpoints answer the same question about the same frames."""
    for what, mine, its in (
        ("labels", first.labels, other.labels),
        ("features", first.recipe["features"], other.recipe["features"]),
    ):
        if mine != its:
            raise UserError(f"{path} was trained on other {what} than {first_path}: remove one of them and train again")
