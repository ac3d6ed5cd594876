"""The same run twice: from the same seed, killed and resumed, interrupted."""

import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from tests.train.factories import assert_same, fit, get_run_dir, start_training, wait_for, write_training_dataset
from train.runs.checkpoint import load_checkpoint

# Everything whose state a resumed run must find again: momenta, a schedule, an average, dropout, noisy clips, mixing.
STATEFUL = (
    "--training.ema_decay 0.9 --network.dropout 0.3 --training.mixup_probability 0.5 --training.noise_probability 0.5 "
    "--training.bootstrap_beta 0.7 --training.freeze_epochs 1 --training.max_lr 1e-3..1e-2"
)


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, scores and logs of two runs are bit for bit the same, but for times and memory."""
    for path in sorted(get_run_dir(one).rglob("*")):
        twin = get_run_dir(other) / path.relative_to(get_run_dir(one))
        if path.suffix == ".pt":
            assert_same(load_checkpoint(path).network, load_checkpoint(twin).network)
            assert_same(load_checkpoint(path).resume or {}, load_checkpoint(twin).resume or {})
        elif path.name in ("oof.csv", "label_issues.csv"):
            assert path.read_bytes() == twin.read_bytes()
        elif path.name == "log.csv":
            unequal = ["train_s", "samples_per_s", "val_s", "memory_mb"]
            assert pd.read_csv(path).drop(columns=unequal).equals(pd.read_csv(twin).drop(columns=unequal))


def test_the_same_seed_trains_the_same_networks_and_another_does_not(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again, other = tmp_path_factory.mktemp("again"), tmp_path_factory.mktemp("other")
    write_training_dataset(again, noisy=3)
    write_training_dataset(other, noisy=3)
    fit(cache, *STATEFUL.split())
    process = start_training(again, *STATEFUL.split())
    printed, complaints = process.communicate()
    assert process.returncode == 0, complaints
    assert [line.split()[:2] for line in complaints.splitlines()] == [[f"fold{fold}:", "3/3"] for fold in range(3)]
    assert "label_issues.csv" in printed
    assert_same_run(cache, again)
    fit(other, *STATEFUL.split(), "--training.seed", "1", "--folds", "0")
    one, two = (load_checkpoint(get_run_dir(each) / "fold0" / "last.pt").network for each in (cache, other))
    assert not torch.equal(one["head.2.weight"], two["head.2.weight"])


def test_a_run_killed_anywhere_and_resumed_ends_as_an_undisturbed_one(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    write_training_dataset(undisturbed, noisy=3)
    options = [*STATEFUL.split(), "--training.epochs", "12"]
    fit(undisturbed, *options)
    process = start_training(cache, *options)
    log = get_run_dir(cache) / "fold1" / "log.csv"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 3, process)
    process.kill()
    process.communicate()
    assert load_checkpoint(get_run_dir(cache) / "fold1" / "last.pt").epoch < 12
    fit(cache, *options, "--resume")
    assert_same_run(undisturbed, cache)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_leaves_a_usable_checkpoint_and_one_line(cache: Path, number: signal.Signals, status: int) -> None:
    process = start_training(cache, "--training.epochs", "10000")
    last = get_run_dir(cache) / "fold0" / "last.pt"
    wait_for(last.exists, process)
    process.send_signal(number)
    _, complaints = process.communicate()
    assert process.returncode == status
    progress, line = complaints.splitlines()
    assert progress.startswith("fold0: ")
    assert line.startswith("earmark: interrupted; ") and "--resume" in line
    assert load_checkpoint(last).resume is not None


def test_an_interrupt_in_the_first_epoch_loses_no_more_than_it(
    cache: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    write_training_dataset(undisturbed, noisy=3)
    fit(undisturbed, *STATEFUL.split())

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("train.loop.train_fold.batch_loss", interrupt)
        fit(cache, *STATEFUL.split())
    assert load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt").epoch == 0
    fit(cache, *STATEFUL.split(), "--resume")
    assert_same_run(undisturbed, cache)
