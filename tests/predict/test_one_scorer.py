"""One scorer: a clip has the same scores in validation, out of fold, by a teacher, in prediction and by the server."""

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from predict.decide.fitted_params import read_thresholds
from predict.inference.dataset_clips import predict_stored_clips
from predict.inference.oof_predictions import predict_out_of_fold
from predict.inference.recordings import predict_files
from predict.inference.run_loader import TrainedRun, load_run
from predict.inference.score_cache import score_cache_dir
from preprocess.audio.isolated import decoder_limits
from preprocess.store.reader import open_store
from recipe import Data, Prediction, Recipe, Training
from serve.inference_service import InferenceService
from tests.predict.conftest import LABELS, TinyRun
from train.data.frame_bank import load_frame_bank
from train.data.training_set import TrainingSet, load_training_set
from train.evaluate.out_of_fold import report_folds
from train.evaluate.score_table import read_scores
from train.evaluate.window_scorer import score_clips
from train.loop import relabel
from train.runs.checkpoint import load_checkpoint, save_checkpoint

CPU = torch.device("cpu")
LIMITS = decoder_limits(Data())
WINDOWS: dict[str, Any] = {"window_seconds": 0.5, "hop_seconds": 0.1}
VIEWS: dict[str, Any] = {"view_shifts_s": [-0.1, 0.15], "view_gains_db": [6.0]}
WAYS: list[dict[str, Any]] = [
    {"pooling": "mean"},
    {"pooling": "max", "blend": "geometric"},
    {"pooling": "vote_fraction", "window_threshold": 0.42},
    {"pooling": "mean", "blend": "geometric", **VIEWS},
    {"pooling": "max", **VIEWS},
    {"pooling": "vote_fraction", "window_threshold": 0.42, "blend": "geometric", **VIEWS},
]
ClipScores = dict[str, np.ndarray]
"""By clip, [n_labels]."""


@dataclass(frozen=True)
class Scored:
    """A run's clips as validation scores them: what all others are held against."""

    tiny_run: TinyRun
    recipe: Recipe
    run: TrainedRun
    by_fold: dict[int, ClipScores]
    """All clips, by the networks of each fold."""
    by_all: ClipScores
    """All clips, by all networks."""

    @property
    def out_of_fold(self) -> ClipScores:
        """The training clips, each by the networks of its fold."""
        table = self.tiny_run.table[self.tiny_run.table["split"] == "train"]
        return {clip: self.by_fold[fold][clip] for clip, fold in zip(table["clip"], table["fold"], strict=True)}


def write_sound(tiny_run: TinyRun) -> None:
    """Recordings as long as they were, of noise and a tone that come and go: no two windows are alike."""
    random = np.random.default_rng(0)
    for path in tiny_run.table["path"]:
        n_samples = soundfile.info(path).frames
        levels_db = np.interp(np.arange(n_samples), np.arange(0, 16_800, 800), random.uniform(-80, 0, 21))
        tone = np.sin(np.cumsum(random.uniform(0.1, 1.5, 21)[np.arange(n_samples) // 800]))
        soundfile.write(path, 0.5 * 10 ** (levels_db / 20) * (tone + 0.1 * random.standard_normal(n_samples)), 8_000)
    tiny_run.write_store()


def write_networks(tiny_run: TinyRun, training: Training) -> None:
    """Two seeds a fold, finished, whose normalisation layers have means and deviations of their own."""
    run_dir = tiny_run.run_paths.run_dir
    for fold, seed in ((0, 0), (0, 1), (1, 0), (1, 1)):
        tiny_run.write_network(fold, seed, training=training)
        if seed == 0:
            (run_dir / f"fold{fold}").rename(run_dir / f"fold{fold}_seed0")
        path = run_dir / f"fold{fold}_seed{seed}" / "best.pt"
        checkpoint = load_checkpoint(path)
        for name, value in checkpoint.network.items():
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
            elif name.endswith("running_var"):
                value.uniform_(0.7, 1.5)
        save_checkpoint(path, checkpoint)
        save_checkpoint(path.with_name("last.pt"), checkpoint)


# Each pooling, blend and choice of views occurs in each mode.
@pytest.fixture(params=list(zip(WAYS, ("dense", "exact", "exact", "exact", "dense", "dense"), strict=True)), ids=str)
def scored(tiny_run: TinyRun, request: pytest.FixtureRequest) -> Scored:
    way, mode = request.param
    return score_all(tiny_run, Prediction(**WINDOWS, mode=mode, **way))


def score_all(tiny_run: TinyRun, prediction: Prediction, **training: Any) -> Scored:
    write_sound(tiny_run)
    recipe = replace(tiny_run.recipe, training=Training(seeds=2, epochs=1, **training), prediction=prediction)
    write_networks(tiny_run, recipe.training)
    run = load_run(tiny_run.run_paths.run_dir, prediction)
    frame_bank = load_frame_bank(tiny_run.run_paths.store, recipe.features, list(tiny_run.table["clip"]), CPU)

    def score(fold: int | None) -> ClipScores:
        networks = [each for number, group in run.folds.items() if fold in (None, number) for each in group]
        scores = score_clips(networks, frame_bank, range(len(frame_bank.clips)), Recipe(prediction=prediction))
        return dict(zip(frame_bank.clips, scores.numpy(), strict=True))

    scored = Scored(tiny_run, recipe, run, {fold: score(fold) for fold in run.folds}, score(None))
    assert len({np.stack(list(each.values())).tobytes() for each in (scored.by_all, *scored.by_fold.values())}) > 1
    return scored


def assert_scores(found: ClipScores, expected: ClipScores) -> None:
    assert found
    for clip, scores in found.items():
        np.testing.assert_allclose(scores, expected[clip], atol=1e-6, rtol=0, err_msg=clip)


def predict_recordings(scored: Scored) -> ClipScores:
    """make predict INPUT= of the recordings themselves."""
    table, run = scored.tiny_run.table, scored.run
    recordings = dict(zip(table["clip"], map(Path, table["path"]), strict=True))
    cache_dir = score_cache_dir(scored.tiny_run.run_paths.run_dir / "score_cache", run)
    run_dir = scored.tiny_run.run_paths.run_dir
    found, failed, _ = predict_files(recordings, run.tagger(), run.recipe.features, cache_dir, run_dir, LIMITS, CPU, 2)
    assert not failed
    return {clip: prediction.scores for clip, prediction in found.items()}


def request_recordings(scored: Scored) -> ClipScores:
    """make serve."""
    run, run_dir = scored.run, scored.tiny_run.run_paths.run_dir
    thresholds = read_thresholds(run_dir, LABELS, run.prediction)
    with InferenceService(run, thresholds, CPU, LIMITS, n_jobs=1, max_duration_s=60, max_pending=4) as service:

        async def ask() -> list[Any]:
            paths = scored.tiny_run.table["path"]
            return await asyncio.gather(*(service.tag("", Path(path)) for path in paths))

        scores = [np.array([response.scores[label] for label in LABELS]) for response in asyncio.run(ask())]
    return dict(zip(scored.tiny_run.table["clip"], scores, strict=True))


def mark_noisy(tiny_run: TinyRun) -> None:
    """Two training clips of each fold were not checked."""
    quality = tiny_run.table["label_quality"].where(~tiny_run.table.index.isin([2, 3, 4, 5]), "noisy")
    tiny_run.write_table(tiny_run.table.assign(label_quality=quality))


def teacher_scores(scored: Scored, training_set: TrainingSet, fold: int, monkeypatch: pytest.MonkeyPatch) -> ClipScores:
    """What the run's networks of a fold, as a teacher, say of noisy clips that others learn from."""
    scores: list[Tensor] = []

    def noted(targets: Tensor, of_teacher: Tensor, *thresholds: float) -> Tensor:
        scores.append(of_teacher)
        return targets

    monkeypatch.setattr(relabel, "relabel_targets", noted)
    run_dir = str(scored.tiny_run.run_paths.run_dir)
    recipe = replace(scored.recipe, training=replace(scored.recipe.training, teacher=run_dir))
    relabel.relabel_noisy_clips(training_set, recipe, fold, CPU)
    rows = np.flatnonzero(training_set.noisy.numpy() & (training_set.folds != fold))
    return dict(zip(training_set.clip_names(rows), scores[0].numpy(), strict=True))


def test_a_clip_has_the_same_scores_everywhere(scored: Scored, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny_run, run, prediction = scored.tiny_run, scored.run, scored.recipe.prediction
    run_paths = tiny_run.run_paths
    assert run.prediction == prediction
    assert_scores(predict_recordings(scored), scored.by_all)
    assert_scores(request_recordings(scored), scored.by_all)
    with open_store(run_paths.store) as store:
        stored = predict_stored_clips(tiny_run.table, run, store, CPU, 2)
    expected = scored.by_all | scored.out_of_fold
    assert_scores({clip: each.scores for clip, each in stored.items()}, expected)

    mark_noisy(tiny_run)
    oof = predict_out_of_fold(run_paths, run, CPU, 2, None)
    curated = tiny_run.table["clip"].iloc[:2]
    assert_scores(dict(zip(curated, oof.pool_scores(prediction), strict=True)), scored.out_of_fold)
    training_set = load_training_set(scored.recipe, run_paths, CPU)
    report_folds(run_paths, scored.recipe, training_set, CPU)
    written = read_scores(run_paths.oof_csv)
    assert len(written.clips) == 6
    assert_scores(dict(zip(written.clips, written.values, strict=True)), scored.out_of_fold)
    for fold in run.folds:
        assert_scores(teacher_scores(scored, training_set, fold, monkeypatch), scored.by_fold[fold])


@pytest.mark.parametrize("blend", ["mean", "geometric"])
def test_scores_of_one_label_a_clip_add_up_to_1_everywhere(tiny_run: TinyRun, blend: str) -> None:
    prediction = Prediction(**WINDOWS, blend=blend)  # type: ignore[arg-type]
    scored = score_all(tiny_run, prediction, loss="cross_entropy")
    assert all(abs(scores.sum() - 1) < 1e-6 for scores in scored.by_all.values())
    assert_scores(predict_recordings(scored), scored.by_all)
    with open_store(tiny_run.run_paths.store) as store:
        stored = predict_stored_clips(tiny_run.table, scored.run, store, CPU)
    expected = scored.by_all | scored.out_of_fold
    assert_scores({clip: each.scores for clip, each in stored.items()}, expected)
