"""The batches of one network's epochs, and how many there are."""

from pathlib import Path

import pytest
import torch

from recipe.cli import parse_command
from tests.train.factories import OPTIONS, fit, get_run_dir, write_training_dataset
from train.loop.fold_job import FoldJob
from train.loop.load_job import load_fold_job


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """18 curated and 12 noisy clips."""
    cache = tmp_path_factory.mktemp("noisy")
    write_training_dataset(cache, n_clips=30, noisy=12)
    return cache


def load(cache: Path, *more: str) -> FoldJob:
    command = parse_command([*OPTIONS[:-2], "--cache", str(cache), *more], "test")
    return load_fold_job(command.recipe, command.run_paths, torch.device("cpu"), 0)


@pytest.mark.parametrize(("noisy_share", "n_noisy_epochs"), [("0", 0), ("0.5", 2), ("0.7", 3), ("1", 4)])
def test_the_last_epochs_draw_no_noisy_clips(cache: Path, noisy_share: str, n_noisy_epochs: int) -> None:
    job = load(cache, "--training.epochs", "4", "--training.noisy_share", noisy_share, "--training.batch_size", "4")
    noisy = job.training_set.noisy
    drawn = [torch.cat([batch.rows for batch in job.batches(epoch)]) for epoch in range(4)]
    assert [bool(noisy[rows].any()) for rows in drawn] == [epoch < n_noisy_epochs for epoch in range(4)]
    assert job.n_steps == sum(len(rows) for rows in drawn) // 4
    assert (len(drawn[0]) > len(drawn[-1])) == (0 < n_noisy_epochs < 4)
    later = torch.cat([batch.rows for batch in job.batches(9)])  # as the learning-rate finder draws them
    assert bool(noisy[later].any()) == (n_noisy_epochs == 4)


def test_a_stage_has_the_steps_of_its_epochs(cache: Path) -> None:
    stages = ["--training.epochs", "4", "--training.stages", "[[1, 1e-3], [3, 1e-3]]"]
    job = load(cache, *stages, "--training.noisy_share", "0.5", "--training.batch_size", "4")
    n_steps = [len(job.batches(epoch)) for epoch in range(4)]
    assert [job.stage_steps(0), job.stage_steps(1)] == [n_steps[0], sum(n_steps[1:])]


def test_the_rate_falls_to_its_end_over_epochs_of_both_lengths(cache: Path) -> None:
    fit(
        cache,
        "--run",
        "recipe",
        "--training.epochs",
        "4",
        "--training.noisy_share",
        "0.5",
        "--training.batch_size",
        "2",
    )
    log = (get_run_dir(cache) / "fold0" / "log.csv").read_text("utf-8").splitlines()
    rates = [float(line.split(",")[log[0].split(",").index("lr")]) for line in log[1:]]
    assert len(rates) == 4
    assert rates[-1] < 1e-6
