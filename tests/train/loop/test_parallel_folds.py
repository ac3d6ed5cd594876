"""Networks trained side by side are those trained one by one; what goes wrong in one stops all with its line."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from tests.train.factories import assert_same, fit, get_run_dir
from train.loop.parallel_folds import TrainingTask, threads_per_job, train_isolated
from train.runs.checkpoint import load_checkpoint


@given(st.integers(1, 30), st.integers(1, 16), st.integers(1, 64))
def test_every_network_has_a_thread_and_no_more_run_than_there_are(
    n_networks: int, n_parallel: int, n_threads: int
) -> None:
    n_parallel = min(n_parallel, n_networks)
    thread_counts = threads_per_job(n_networks, n_parallel, n_threads)
    assert len(thread_counts) == n_networks
    assert min(thread_counts) >= 1
    for first in range(0, n_networks, n_parallel):
        together = thread_counts[first : first + n_parallel]
        assert sum(together) <= max(n_threads, len(together))


def test_parallel_folds_give_the_same_networks_as_sequential_ones(cache: Path, tmp_path: Path) -> None:
    fit(cache, "--jobs", "2")
    run_dir = get_run_dir(cache)
    together = {path: path.read_bytes() for path in sorted(run_dir.glob("fold*/best.pt"))}
    kept = [load_checkpoint(path) for path in together]
    scores = (run_dir / "oof.csv").read_bytes()
    fit(cache)
    assert (run_dir / "oof.csv").read_bytes() == scores
    for one, path in zip(kept, together, strict=True):
        assert_same(one.network, load_checkpoint(path).network)


def test_folds_are_dealt_to_devices(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(cache)
    scores = (get_run_dir(cache) / "oof.csv").read_bytes()
    tasks: list[TrainingTask] = []

    def record(task: TrainingTask) -> str:
        tasks.append(task)
        return train_isolated(task)

    monkeypatch.setattr("train.loop.parallel_folds.train_isolated", record)
    fit(cache, "--restart", "--device", "cpu:0,cpu:1")
    assert {task.device for task in tasks} == {"cpu:0", "cpu:1"} and len(tasks) == 3
    assert (get_run_dir(cache) / "oof.csv").read_bytes() == scores


def test_clips_that_are_not_in_the_store_are_said_once(cache: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with (cache / "recipe" / "clips.csv").open("a", encoding="utf-8") as table:
        table.write("broken.wav,/sound/broken.wav,hum,0,train,broken.wav,curated,\n")
    fit(cache, "--jobs", "2", "--folds", "0,1", "--training.epochs", "1")
    printed = capfd.readouterr()
    assert printed.err.count("1 training clips are not in the store") == 1
    assert "fold1: 1/1 epochs" in printed.err


def test_bad_jobs_are_refused(cache: Path) -> None:
    with pytest.raises(UserError, match="--jobs 0"):
        fit(cache, "--jobs", "0")


DIVERGING = (
    "--training.optimizer sgd --training.max_lr 100 --training.weight_decay 10 --training.clip_gradient 0 "
    "--training.schedule constant"
)


def test_what_one_network_cannot_do_stops_them_all_with_its_line(cache: Path) -> None:
    with pytest.raises(UserError, match=r"became .*: lower training\.max_lr"):
        fit(cache, "--jobs", "2", "--training.epochs", "30", *DIVERGING.split())
