"""Clips of a store: each by the right networks, with its copies where they are wanted as views."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from core.errors import UserError
from predict.inference.dataset_clips import StoredClips, choose_oof_clips, predict_stored_clips
from predict.inference.tagger import load_run
from preprocess.store.reader import open_store
from recipe import Prediction
from tests.predict.conftest import TinyRun
from train.runs.checkpoint import load_checkpoint, save_checkpoint
from train.runs.seen_clips import hash_names

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)
CPU = torch.device("cpu")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_clip_is_answered_by_the_networks_of_its_fold(tiny_run: TinyRun, n_jobs: int) -> None:
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    with open_store(tiny_run.run_paths.store) as store:
        clip_predictions = predict_stored_clips(tiny_run.table, run, store, CPU, n_jobs)
        frames = StoredClips(store, CPU)
        assert list(clip_predictions) == tiny_run.table["clip"].tolist()
        for clip, fold in zip(tiny_run.table["clip"], tiny_run.table["fold"], strict=True):
            tagger = run.tagger(None if fold < 0 else fold)
            alone = tagger.tag(frames.read(clip), *frames.start_and_duration(clip))
            np.testing.assert_allclose(clip_predictions[clip].windows, alone.windows, atol=1e-6)
            np.testing.assert_array_equal(clip_predictions[clip].end_s, alone.end_s)


def test_clips_seen_in_training_are_not_out_of_fold(tiny_run: TinyRun) -> None:
    path, train = tiny_run.run_paths.run_dir / "fold1" / "best.pt", tiny_run.table[tiny_run.table["split"] == "train"]
    for fold, fits in ((0, True), (1, False)):
        seen_clips = hash_names(train.loc[train["fold"] == fold, "clip"])
        save_checkpoint(path, replace(load_checkpoint(path), seen_clips=seen_clips))
        run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
        if fits:
            assert len(choose_oof_clips(tiny_run.table, run)) == len(train)
            continue
        with pytest.raises(UserError, match="is in fold 1 now, whose networks have learnt from it"):
            choose_oof_clips(tiny_run.table, run)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_clip_s_score_is_the_mean_of_its_copies_and_its_own(
    tiny_run: TinyRun, pooling: Literal["mean", "max"]
) -> None:
    tiny_run.write_store(louder_db=[6.0, -9.0])
    prediction = replace(PREDICTION, pooling=pooling)
    run = load_run(tiny_run.run_paths.run_dir, replace(prediction, view_offline_augment=True))
    test = tiny_run.table[tiny_run.table["split"] == "test"]
    with open_store(tiny_run.run_paths.store) as store:
        clip_predictions = predict_stored_clips(test, run, store, CPU)
        frames = StoredClips(store, CPU)
        for clip in test["clip"]:
            assert frames.n_augmented(clip) == 2
            views = [
                replace(run.tagger(), prediction=prediction).tag(frames.read(clip, variant)) for variant in range(3)
            ]
            np.testing.assert_allclose(
                clip_predictions[clip].scores, np.mean([view.scores for view in views], axis=0), atol=1e-6
            )
            np.testing.assert_allclose(clip_predictions[clip].windows, views[0].windows, atol=1e-6)
            assert not np.allclose(views[0].windows, views[1].windows)
        plain = predict_stored_clips(test, load_run(tiny_run.run_paths.run_dir, prediction), store, CPU)
    assert not any(clip_prediction.augmented_views for clip_prediction in plain.values())


def test_copies_that_are_not_there_are_asked_for(tiny_run: TinyRun) -> None:
    run = load_run(tiny_run.run_paths.run_dir, replace(PREDICTION, view_offline_augment=True))
    with (
        open_store(tiny_run.run_paths.store) as store,
        pytest.raises(UserError, match=r"prediction\.view_offline_augment.*train0.*make features"),
    ):
        predict_stored_clips(tiny_run.table, run, store, CPU)
