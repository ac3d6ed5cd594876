"""Clips of a store: each by the right networks, read and scored side by side."""

import threading
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from core.errors import UserError
from predict import run as script
from predict.inference import dataset_clips
from predict.inference.dataset_clips import (
    StoredClips,
    choose_clips,
    choose_oof_clips,
    find_failed,
    find_trained_recordings,
    predict_stored_clips,
    score_side_by_side,
)
from predict.inference.run_loader import load_run
from preprocess.dataset.clip_table import read_clip_table
from preprocess.store.reader import open_store
from recipe import Prediction
from tests.predict.conftest import TinyRun, predict_frames
from train.runs.checkpoint import load_checkpoint, save_checkpoint
from train.runs.seen_clips import hash_frames

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
            row = frames.rows[clip]
            alone = predict_frames(tagger, frames.read(clip), store.start_s[row], store.duration_s[row])
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


@pytest.fixture
def known(tiny_run: TinyRun) -> TinyRun:
    """A run whose networks know the clips that they were trained on: those of the other fold."""
    table = read_clip_table(tiny_run.run_paths.clips_csv)
    for fold in (0, 1):
        path, rows = tiny_run.run_paths.run_dir / f"fold{fold}" / "best.pt", table[table["fold"] == 1 - fold]
        hashes = hash_frames(rows["clip"], rows["frames_digest"])
        save_checkpoint(path, replace(load_checkpoint(path), seen_clips=hashes[:, 0], trained_frames=hashes))
    return tiny_run


def renamed(table: pd.DataFrame, **new_names: str) -> pd.DataFrame:
    return table.replace({"clip": {table["clip"].iloc[int(key[1:])]: name for key, name in new_names.items()}})


def test_clips_seen_in_training_are_not_out_of_fold(known: TinyRun) -> None:
    run, table = load_run(known.run_paths.run_dir, PREDICTION), read_clip_table(known.run_paths.clips_csv)
    assert len(choose_oof_clips(table, run)) == 6
    moved = table.assign(fold=table["fold"].where(table.index != 2, 1))
    for clips in (moved, renamed(moved, _2="new.wav")):
        with pytest.raises(UserError, match="is in fold 1 now, whose networks were trained on it"):
            choose_oof_clips(clips, run)
    replaced = table.assign(frames_digest=table["frames_digest"].where(table.index != 3, "other"))
    with pytest.raises(UserError, match=r"recording of clip 'train3 .*' was replaced since the training"):
        choose_oof_clips(replaced, run)
    copy = pd.concat([table, table.iloc[[2]].assign(clip="copy.wav", fold=1)])
    assert len(choose_oof_clips(copy, run)) == 7, "the dataset's own copies are for make survey to tell"


def test_clips_that_became_test_clips_are_refused(known: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    run, table = load_run(known.run_paths.run_dir, PREDICTION), read_clip_table(known.run_paths.clips_csv)
    assert len(choose_clips(table, run)[0]) == 6
    moved = table.assign(split=table["split"].where(table.index != 2, "test"))
    for clips, name in ((moved, "train2 .*"), (renamed(moved, _2="test/2.wav"), "test/2.wav")):
        with pytest.raises(UserError, match=rf"trained on '{name}', which is a test clip now: run make train"):
            choose_clips(clips, run)
    assert not capsys.readouterr().err
    copy = pd.concat([table, table.iloc[[2]].assign(clip="copy.wav", split="test")])
    assert len(choose_clips(copy, run)[0]) == 7
    assert "1 test clip(s) have the very frames of training clips, the first 'copy.wav'" in capsys.readouterr().err


def test_recordings_of_training_clips_are_known_under_other_names(known: TinyRun) -> None:
    run, store_path = load_run(known.run_paths.run_dir, PREDICTION), known.run_paths.store
    recordings = {path: Path(path) for path in known.table["path"]}
    trained = known.table.loc[known.table["split"] == "train", "path"].tolist()
    assert find_trained_recordings(recordings, run, store_path) == trained
    known.table["clip"] = "renamed " + known.table["clip"]
    known.write_store()
    assert find_trained_recordings(recordings, run, store_path) == trained


@pytest.mark.parametrize("table_of_test_clips", [True, False])
def test_predict_refuses_a_clip_that_its_networks_know(known: TinyRun, table_of_test_clips: bool) -> None:
    table = known.table if table_of_test_clips else known.table[known.table["split"] == "train"]
    known.write_table(table)
    script.main([*known.arguments, "--jobs", "1"])
    changes = {"split": "test"} if table_of_test_clips else {"fold": 1}
    for column, value in changes.items():
        table.loc[2, column] = value
    known.write_table(table)
    with pytest.raises(UserError, match="networks were trained on"):
        script.main([*known.arguments, "--jobs", "1"])


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


@pytest.mark.parametrize(("n_jobs", "n_threads"), [(1, 1), (2, 1), (6, 2), (99, 3)])
def test_threads_share_the_cores(
    tiny_run: TinyRun, n_jobs: int, n_threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_clips, "available_cores", lambda: 9)
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
