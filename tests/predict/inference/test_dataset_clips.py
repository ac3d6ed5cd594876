"""Clips of a store: each by the right networks, with its copies where they are wanted as views."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from core.errors import BadInput
from predict.inference.dataset_clips import StoredClips, answer_clips, choose_held_out
from predict.inference.tagger import load_run
from preprocess.store.reader import open_store
from recipe import Prediction
from tests.predict.conftest import Home
from train.runs.checkpoint import load_checkpoint, save_checkpoint
from train.runs.seen_clips import marks_of

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)
CPU = torch.device("cpu")


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_clip_is_answered_by_the_networks_of_its_fold(home: Home, n_jobs: int) -> None:
    run = load_run(home.places.run_home, PREDICTION)
    with open_store(home.places.store) as store:
        answers = answer_clips(home.table, run, store, CPU, n_jobs)
        frames = StoredClips(store, CPU)
        assert list(answers) == home.table["clip"].tolist()
        for clip, fold in zip(home.table["clip"], home.table["fold"], strict=True):
            tagger = run.tagger(None if fold < 0 else fold)
            alone = tagger.tag(frames.read(clip), *frames.times(clip))
            np.testing.assert_allclose(answers[clip].windows, alone.windows, atol=1e-6)
            np.testing.assert_array_equal(answers[clip].end_s, alone.end_s)


def test_clips_that_a_network_has_learnt_from_are_not_out_of_fold(home: Home) -> None:
    path, train = home.places.run_home / "fold1" / "best.pt", home.table[home.table["split"] == "train"]
    for fold, fits in ((0, True), (1, False)):
        learnt = marks_of(train.loc[train["fold"] == fold, "clip"])
        save_checkpoint(path, replace(load_checkpoint(path), learnt=learnt))
        run = load_run(home.places.run_home, PREDICTION)
        if fits:
            assert len(choose_held_out(home.table, run)) == len(train)
            continue
        with pytest.raises(BadInput, match="is in fold 1 now, whose networks have learnt from it"):
            choose_held_out(home.table, run)


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_a_clip_s_score_is_the_mean_of_its_copies_and_its_own(home: Home, pooling: Literal["mean", "max"]) -> None:
    home.write_store(louder_db=[6.0, -9.0])
    prediction = replace(PREDICTION, pooling=pooling)
    run = load_run(home.places.run_home, replace(prediction, view_copies=True))
    test = home.table[home.table["split"] == "test"]
    with open_store(home.places.store) as store:
        answers = answer_clips(test, run, store, CPU)
        frames = StoredClips(store, CPU)
        for clip in test["clip"]:
            assert frames.n_copies(clip) == 2
            views = [
                replace(run.tagger(), prediction=prediction).tag(frames.read(clip, variant)) for variant in range(3)
            ]
            np.testing.assert_allclose(
                answers[clip].scores, np.mean([view.scores for view in views], axis=0), atol=1e-6
            )
            np.testing.assert_allclose(answers[clip].windows, views[0].windows, atol=1e-6)
            assert not np.allclose(views[0].windows, views[1].windows)
        plain = answer_clips(test, load_run(home.places.run_home, prediction), store, CPU)
    assert not any(answer.copies for answer in plain.values())


def test_copies_that_are_not_there_are_asked_for(home: Home) -> None:
    run = load_run(home.places.run_home, replace(PREDICTION, view_copies=True))
    with (
        open_store(home.places.store) as store,
        pytest.raises(BadInput, match=r"prediction\.view_copies.*train0.*make features"),
    ):
        answer_clips(home.table, run, store, CPU)
