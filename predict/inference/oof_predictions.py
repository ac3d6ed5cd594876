"""Predictions for clips by networks that were not trained on them: what thresholds and calibration are fitted on."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from core.errors import UserError
from core.paths import RunPaths
from predict.decide.calibration import apply_temperature
from predict.inference.dataset_clips import StoredClips, choose_oof_clips, predict_stored_clips, score_side_by_side
from predict.inference.run_loader import TrainedRun
from predict.inference.synthetic_mixtures import make_mixture
from predict.inference.tagger import ClipPrediction
from preprocess.dataset.labels import TRAIN_AGAIN, to_multi_hot
from preprocess.store.reader import Store, open_store
from recipe import Prediction, Tuning
from train.data.corrected_clips import read_corrected_clips
from train.evaluate.windows import pool_windows
from train.networks.factory import Activation


@dataclass(frozen=True)
class OofPredictions:
    """Predictions with their truth, aligned."""

    clip_predictions: list[ClipPrediction]
    truth: np.ndarray
    """float32 [n_clips, n_labels]"""
    folds: np.ndarray
    """int64 [n_clips]: the fold whose networks were used."""
    activation: Activation
    description: str

    def pool_scores(self, prediction: Prediction, temperature: float = 1.0) -> np.ndarray:
        """Scores [n_clips, n_labels] of the clips, pooled over their windows at a temperature."""
        return pool_predictions(self.clip_predictions, self.activation, prediction, temperature)

    def select(self, chosen: np.ndarray) -> "OofPredictions":
        """Some of the clips, by a boolean [n_clips]."""
        clip_predictions = [self.clip_predictions[index] for index in np.flatnonzero(chosen)]
        return replace(self, clip_predictions=clip_predictions, truth=self.truth[chosen], folds=self.folds[chosen])


def pool_predictions(
    clip_predictions: Sequence[ClipPrediction], activation: Activation, prediction: Prediction, temperature: float
) -> np.ndarray:
    """Scores [n_clips, n_labels] of clips, pooled over their windows at a temperature."""
    windows = [torch.from_numpy(each.windows) for each in clip_predictions]
    calibrated = apply_temperature(torch.cat(windows), temperature, activation).split(list(map(len, windows)))
    return np.stack([pool_windows(each, prediction).numpy() for each in calibrated])


def predict_out_of_fold(
    run_paths: RunPaths, run: TrainedRun, device: torch.device, n_jobs: int, corrections: str | None
) -> OofPredictions:
    """The curated training clips, each by the networks that were not trained on its fold."""
    with open_store(run_paths.store, run.recipe.features) as store:
        clips = _curated_clips(run_paths, run, store, corrections)
        clip_predictions = predict_stored_clips(clips, run, store, device, n_jobs)
    truth = to_multi_hot(clips["labels"], run.labels, clips=clips["clip"], advice=TRAIN_AGAIN)
    description = f"{len(truth)} out-of-fold clips"
    return OofPredictions(list(clip_predictions.values()), truth, clips["fold"].to_numpy(), run.activation, description)


def predict_mixtures(
    run_paths: RunPaths, run: TrainedRun, device: torch.device, n_jobs: int, corrections: str | None, tuning: Tuning
) -> OofPredictions:
    """Mixtures of curated training clips of one fold each, by the networks that were not trained on it; seeded."""
    recipe = replace(run.recipe, tuning=tuning)
    clip_predictions: list[ClipPrediction] = []
    labels: list[str] = []
    with open_store(run_paths.store, run.recipe.features) as store:
        clips, frames = _curated_clips(run_paths, run, store, corrections), StoredClips(store, device)
        folds = np.sort(np.resize(np.unique(clips["fold"]), tuning.mixtures))
        for fold in np.unique(folds).tolist():
            tagger, fold_clips, texts = run.tagger(fold), clips[clips["fold"] == fold], dict[int, str]()

            def mix(number: int) -> Tensor:
                seed = [fold, number]  # noqa: B023 (called before the next fold)
                texts[number], mixture = make_mixture(fold_clips, frames.read, recipe, run.frames_per_second, seed)  # noqa: B023
                return mixture

            numbers = range(int((folds == fold).sum()))
            windows = dict(score_side_by_side(tagger.scorer, numbers, mix, device, n_jobs))
            clip_predictions += [tagger.pool_clip(windows[number], 0.0, np.inf) for number in numbers]
            labels += [texts[number] for number in numbers]
    description = f"{tuning.mixtures} mixtures of out-of-fold clips"
    return OofPredictions(clip_predictions, to_multi_hot(labels, run.labels), folds, run.activation, description)


def _curated_clips(run_paths: RunPaths, run: TrainedRun, store: Store, corrections: str | None) -> pd.DataFrame:
    """The stored training clips with checked labels, in folds that some network was not trained on.

    Raises UserError as choose_oof_clips does, and where there are none.
    """
    clips = choose_oof_clips(read_corrected_clips(run_paths, corrections, store).table, run)
    curated = clips[(clips["label_quality"] == "curated") & clips["clip"].isin(store.clips)]
    if curated.empty:
        raise UserError(
            f"no training clip with checked labels that could be read is in the run's folds {sorted(run.folds)}: "
            "run make features, look into its failed.csv, and run make train"
        )
    return curated
