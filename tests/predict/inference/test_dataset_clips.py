"""Clips of a store: each by the right networks, read and scored side by side."""

import threading
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
import torch

from core.errors import UserError
from predict.inference import dataset_clips
from predict.inference.dataset_clips import (
    StoredClips,
    choose_clips,
    choose_oof_clips,
    find_failed,
    predict_stored_clips,
    score_side_by_side,
)
from predict.inference.run_loader import load_run
from preprocess.store.reader import open_store
from recipe import Prediction
from tests.predict.conftest import TinyRun, predict_frames
from train.runs.checkpoint import load_checkpoint, save_checkpoint
from train.runs.seen_clips import hash_names

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def keep_threads() -> object:
    """PyTorch's threads are set for tests that run in this one."""
    n_threads = torch.get_num_threads()
    yield
    torch.set_num_threads(n_threads)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_each_clip_is_scored_by_the_networks_of_its_fold(
    tiny_run: TinyRun, n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_clips, "BATCH_CLIPS", 2)
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    with open_store(tiny_run.run_paths.store) as store:
        clip_predictions = predict_stored_clips(tiny_run.table, run, store, CPU, n_jobs)
        frames = StoredClips(store, CPU)
        assert list(clip_predictions) == tiny_run.table["clip"].tolist()
        for clip, fold in zip(tiny_run.table["clip"], tiny_run.table["fold"], strict=True):
            tagger = run.tagger(None if fold < 0 else fold)
            alone = predict_frames(tagger, frames.read(clip), *frames.start_and_duration(clip))
            np.testing.assert_allclose(clip_predictions[clip].windows, alone.windows, atol=1e-6)
            np.testing.assert_array_equal(clip_predictions[clip].end_s, alone.end_s)


def test_offline_copies_are_not_scored(tiny_run: TinyRun) -> None:
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    scores = []
    for louder_db in ((), (6.0, -9.0)):
        tiny_run.write_store(louder_db=louder_db)
        with open_store(tiny_run.run_paths.store) as store:
            clip_predictions = predict_stored_clips(tiny_run.table, run, store, CPU)
        scores.append(np.stack([each.scores for each in clip_predictions.values()]))
    np.testing.assert_array_equal(scores[0], scores[1])


def test_clips_seen_in_training_are_not_out_of_fold(tiny_run: TinyRun) -> None:
    path, train = tiny_run.run_paths.run_dir / "fold1" / "best.pt", tiny_run.table[tiny_run.table["split"] == "train"]
    for fold, fits in ((0, True), (1, False)):
        seen_clips = hash_names(train.loc[train["fold"] == fold, "clip"])
        save_checkpoint(path, replace(load_checkpoint(path), seen_clips=seen_clips))
        run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
        if fits:
            assert len(choose_oof_clips(tiny_run.table, run)) == len(train)
            continue
        with pytest.raises(UserError, match="is in fold 1 now, whose networks were trained on it"):
            choose_oof_clips(tiny_run.table, run)


def test_test_clips_are_chosen_where_there_are_any(tiny_run: TinyRun) -> None:
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    is_test = tiny_run.table["split"] == "test"
    clips, description = choose_clips(tiny_run.table, run)
    assert clips["clip"].tolist() == tiny_run.table.loc[is_test, "clip"].tolist()
    assert description.startswith("6 test clips, by the networks of 2 folds")
    clips, description = choose_clips(tiny_run.table[~is_test], run)
    assert clips["clip"].tolist() == tiny_run.table.loc[~is_test, "clip"].tolist()
    assert description.startswith("no test clips: 6 training clips")
    with pytest.raises(UserError, match=r"no training clip is in the run's folds \[0, 1\]"):
        choose_clips(tiny_run.table.iloc[:0], run)


def test_clips_that_are_not_in_the_store_have_failed_or_are_asked_for(tiny_run: TinyRun) -> None:
    table = tiny_run.table
    tiny_run.write_store(unreadable=table["clip"].tolist()[:2])
    with open_store(tiny_run.run_paths.store) as store:
        failed = find_failed(table, store, tiny_run.run_paths)
        assert failed["clip"].tolist() == table["clip"].tolist()[:2]
        with pytest.raises(UserError, match="none of the 2 clips to score could be read"):
            find_failed(table.iloc[:2], store, tiny_run.run_paths)
        unknown = table.assign(clip=table["clip"].where(table.index != 5, "new.wav"))
        with pytest.raises(UserError, match=r"clip 'new.wav' is in .* but not in .*: run make features again"):
            find_failed(unknown, store, tiny_run.run_paths)


@pytest.mark.parametrize(("n_jobs", "n_threads"), [(1, 1), (2, 1), (6, 2)])
def test_threads_share_the_cores(
    tiny_run: TinyRun, n_jobs: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_clips, "MAX_THREADS", 3)
    monkeypatch.setattr(dataset_clips, "BATCH_CLIPS", 1)
    torch.set_num_threads(1)
    scorer = load_run(tiny_run.run_paths.run_dir, PREDICTION).tagger().scorer
    seen: list[tuple[str, int]] = []

    def read(seed: int) -> torch.Tensor:
        seen.append((threading.current_thread().name, torch.get_num_threads()))
        return torch.full((40, 24), float(-seed))

    found = dict(score_side_by_side(scorer, range(20), read, CPU, n_jobs))
    assert sorted(found) == list(range(20))
    assert {n for _, n in seen} == {n_threads}
    assert len({name for name, _ in seen}) <= min(n_jobs, 3)
    assert torch.get_num_threads() == 1


def test_an_error_while_a_clip_is_read_reaches_the_reader_and_ends_the_rest(tiny_run: TinyRun) -> None:
    scorer = load_run(tiny_run.run_paths.run_dir, PREDICTION).tagger().scorer
    n_read = 0

    def read(seed: int) -> torch.Tensor:
        nonlocal n_read
        n_read += 1
        if seed == 40:
            raise OSError(5, "Input/output error")
        return torch.full((40, 24), float(-seed))

    with pytest.raises(OSError, match="Input/output error"):
        list(score_side_by_side(scorer, range(1_000), read, CPU, 2))
    assert n_read < 500
    with closing(score_side_by_side(scorer, range(41, 1_000), read, CPU, 2)) as results:  # type: ignore[type-var]
        next(results)
    assert n_read < 1_000
