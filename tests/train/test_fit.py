"""make train: the command a user types, on seconds of frames."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch import Tensor

import train.fit
from errors import BadInput
from tests.train.studies import LABELS, OPTIONS, write_study
from train.batches import Batches
from train.checkpoint import load_checkpoint
from train.losses import batch_loss
from train.schedule import Schedule
from train.scores import read_scores
from train.seeding import seeded_generator

ROOT = Path(__file__).parent.parent.parent
# Everything whose state a resumed run must find again: momenta, a schedule, an average, dropout, noisy clips, mixing.
STATEFUL = (
    "--training.average 0.9 --network.dropout 0.3 --training.mixup_probability 0.5 --training.noise_probability 0.5 "
    "--training.bootstrap_beta 0.7 --training.freeze_epochs 1 --training.max_lr 1e-3..1e-2"
)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    write_study(tmp_path, noisy=3)
    return tmp_path


def fit(cache: Path, *more: str) -> None:
    train.fit.main([*OPTIONS, "--cache", str(cache), *more])


def start(cache: Path, *more: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "train.fit", *OPTIONS, "--cache", str(cache), *more]
    environment = os.environ | {"PYTHONWARNINGS": "error", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def home_of(cache: Path) -> Path:
    return cache / "recipe" / "runs" / "recipe"


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(3000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("nothing happened in a minute")


def assert_same_run(one: Path, other: Path) -> None:
    """Weights, scores and logs of two runs are bit for bit the same, but for times and memory."""
    for path in sorted(home_of(one).rglob("*")):
        twin = home_of(other) / path.relative_to(home_of(one))
        if path.suffix == ".pt":
            assert_same(load_checkpoint(path).network, load_checkpoint(twin).network)
            assert_same(load_checkpoint(path).resume or {}, load_checkpoint(twin).resume or {})
        elif path.name in ("oof.csv", "suspicious.csv"):
            assert path.read_bytes() == twin.read_bytes()
        elif path.name == "log.csv":
            unequal = ["train_s", "samples_per_s", "held_out_s", "memory_mb"]
            assert pd.read_csv(path).drop(columns=unequal).equals(pd.read_csv(twin).drop(columns=unequal))


def assert_same(one: Any, other: Any) -> None:
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def test_all_folds_leave_checkpoints_logs_and_scores_of_every_clip(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--training.epochs", "8")
    home = home_of(cache)
    for fold in range(3):
        best, last = (load_checkpoint(home / f"fold{fold}" / name) for name in ("best.pt", "last.pt"))
        assert (best.fold, best.labels, last.epoch) == (fold, list(LABELS), 8)
        log = pd.read_csv(home / f"fold{fold}" / "log.csv")
        assert log["epoch"].tolist() == list(range(1, 9))
        assert best.score == log["lwlrap"].max() == log["lwlrap"][best.epoch - 1]
        wanted = (
            "train_loss held_out_loss lwlrap map accuracy f1_micro f1_macro hamming lr train_s samples_per_s memory_mb"
        )
        assert set(wanted.split()) <= set(log.columns)
    scores = read_scores(home / "oof.csv")
    assert scores.clips == [f"clip {number}.wav" for number in range(18)]
    right = (scores.values.argmax(1) == [number % 3 for number in range(18)]).mean()
    assert right > 0.9
    printed = capsys.readouterr().out
    assert "fold  clips  lwlrap" in printed
    assert " all     15" in printed, "the noisy clips are scored, but do not count"


def test_the_same_seed_trains_the_same_networks_and_another_does_not(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    again, other = tmp_path_factory.mktemp("again"), tmp_path_factory.mktemp("other")
    write_study(again, noisy=3)
    write_study(other, noisy=3)
    fit(cache, *STATEFUL.split())
    process = start(again, *STATEFUL.split())
    printed, complaints = process.communicate()
    assert (process.returncode, complaints) == (0, "")
    assert "suspicious.csv" in printed
    assert_same_run(cache, again)
    fit(other, *STATEFUL.split(), "--training.seed", "1", "--folds", "0")
    one, two = (load_checkpoint(home_of(home) / "fold0" / "last.pt").network for home in (cache, other))
    assert not torch.equal(one["head.2.weight"], two["head.2.weight"])


def test_a_run_killed_anywhere_and_resumed_ends_as_an_undisturbed_one(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    undisturbed = tmp_path_factory.mktemp("undisturbed")
    write_study(undisturbed, noisy=3)
    options = [*STATEFUL.split(), "--training.epochs", "12"]
    fit(undisturbed, *options)
    process = start(cache, *options)
    log = home_of(cache) / "fold1" / "log.csv"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 3, process)
    process.kill()
    process.communicate()
    assert load_checkpoint(home_of(cache) / "fold1" / "last.pt").epoch < 12
    fit(cache, *options, "--resume")
    assert_same_run(undisturbed, cache)


def test_an_interrupt_leaves_a_usable_checkpoint_and_one_line(cache: Path) -> None:
    process = start(cache, "--training.epochs", "10000")
    last = home_of(cache) / "fold0" / "last.pt"
    wait_for(last.exists, process)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate()
    assert process.returncode == 130
    assert complaints.startswith("earmark: interrupted")
    assert len(complaints.splitlines()) == 1
    assert load_checkpoint(last).resume is not None


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def burst(*arguments: Any) -> Tensor:
        return batch_loss(*arguments) * (float("nan") if next(calls) == 5 else 1)

    monkeypatch.setattr("train.fit.batch_loss", burst)
    with pytest.raises(
        BadInput, match=r"became nan in epoch 2 at step 3 of 3, learning rate \S+: lower training\.max_lr"
    ):
        fit(cache, "--folds", "2")
    assert load_checkpoint(home_of(cache) / "fold2" / "last.pt").epoch == 1


def test_a_full_device_says_what_to_lower(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("train.fit.batch_loss", run_out)
    with pytest.raises(BadInput, match=r"training\.batch_size = 4 .* training\.crop_seconds = 1\.6: try .* 2"):
        fit(cache)


def test_each_batch_is_one_optimizer_step_and_one_of_the_schedule(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"batches": 0, "optimizer": 0, "schedule": 0}

    def counted(kind: type, method: str, name: str) -> None:
        real = getattr(kind, method)

        def call(self: Any, *arguments: Any, **keys: Any) -> Any:
            counts[name] += 1
            return real(self, *arguments, **keys)

        monkeypatch.setattr(kind, method, call)

    real_iter = Batches.__iter__

    def batches(self: Batches) -> Iterator[Any]:
        for batch in real_iter(self):
            counts["batches"] += 1
            yield batch

    monkeypatch.setattr(Batches, "__iter__", batches)
    counted(torch.optim.AdamW, "step", "optimizer")
    counted(Schedule, "step", "schedule")
    fit(cache, "--folds", "2", "--training.epochs", "4")
    assert counts == {"batches": 12, "optimizer": 12, "schedule": 12}, "twelve clips in fours, four epochs"
    schedule = load_checkpoint(home_of(cache) / "fold2" / "last.pt").resume
    assert schedule is not None
    assert schedule["schedule"]["last_epoch"] == schedule["n_steps"] == 12


def test_no_generator_is_used_twice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds = []

    def recorded(device: torch.device, *keys: int) -> torch.Generator:
        generator = seeded_generator(device, *keys)
        if sys._getframe(2).f_code.co_name == "train_epoch":
            seeds.append(generator.initial_seed())
        return generator

    monkeypatch.setattr("train.job.seeded_generator", recorded)
    fit(cache, "--training.seeds", "2")
    assert len(seeds) == 3 * 2 * 3, "folds, seeds, epochs"
    assert len(set(seeds)) == len(seeds)


def test_folds_may_be_trained_one_by_one(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache, "--folds", "0,2")
    assert "waits for folds 1" in capsys.readouterr().out
    assert not (home_of(cache) / "oof.csv").exists()
    kept = (home_of(cache) / "fold0" / "last.pt").read_bytes()
    fit(cache, "--folds", "1")
    assert (home_of(cache) / "oof.csv").exists()
    assert (home_of(cache) / "fold0" / "last.pt").read_bytes() == kept


def test_several_seeds_train_several_networks_a_fold(cache: Path) -> None:
    fit(cache, "--training.seeds", "2", "--folds", "0")
    one, two = (load_checkpoint(home_of(cache) / f"fold0_seed{seed}" / "best.pt") for seed in range(2))
    assert (one.seed, two.seed) == (0, 1)
    assert not torch.equal(one.network["head.2.weight"], two.network["head.2.weight"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--folds", "0,7"], "no fold 7, only 0, 1, 2"),
        (["--folds", "some"], "write all, or numbers"),
        (["--device", "cuda:9"], "--device cuda:9"),
        (["--network.name", "alexnet"], "alexnet cannot take crops of 16 frames by 8 bins"),
        (["--training.max_lr", "1e-2..1e-4"], "must rise"),
        (["--training.max_lr", "fast"], "training.max_lr = 'fast'"),
        (["--training.corrections", "nowhere.csv"], "nowhere.csv is not there"),
        (["--training.start_from", "nowhere"], "nowhere: no such checkpoint"),
        (["--features.n_bins", "9"], "n_bins was 8, is 9"),
    ],
)
def test_bad_input_is_one_line_that_names_it(cache: Path, options: list[str], message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        fit(cache, *options)
    assert "\n" not in str(caught.value)


def test_another_recipe_does_not_resume_a_run_and_replaces_its_networks_without_resuming(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--folds", "0,1")
    with pytest.raises(BadInput, match=r"training\.epochs = 3"):
        fit(cache, "--folds", "0", "--training.epochs", "4", "--resume")
    assert (home_of(cache) / "fold1").exists()
    fit(cache, "--folds", "0", "--training.epochs", "4")
    assert "was trained with training.epochs = 3" in capsys.readouterr().out
    assert not (home_of(cache) / "fold1").exists()


def test_tensorboard_is_written_where_asked_for(cache: Path) -> None:
    fit(cache, "--folds", "0", "--tensorboard")
    assert list((home_of(cache) / "fold0" / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(
    "options",
    [
        "--training.optimizer sgd --training.schedule plateau --training.metric map",
        "--training.optimizer adam --training.schedule cosine --training.metric last",
        "--training.loss cross_entropy --training.metric accuracy --training.label_smoothing 0.1",
        "--training.loss focal --training.schedule constant --training.clip_gradient 0",
        "--training.progressive [0.5,1] --network.normalise bins --network.pooling attention --network.hidden 8",
        "--training.precision bfloat16 --network.channels deltas",
        "--training.noisy_weight 0",
    ],
)
def test_every_way_of_training_trains(cache: Path, options: str) -> None:
    fit(cache, "--folds", "0", *options.split())
    assert load_checkpoint(home_of(cache) / "fold0" / "last.pt").epoch == 3


def test_the_last_epoch_is_kept_where_nothing_is_to_be_chosen(cache: Path) -> None:
    fit(cache, "--folds", "0", "--training.metric", "last")
    best, last = (load_checkpoint(home_of(cache) / "fold0" / name) for name in ("best.pt", "last.pt"))
    assert best.epoch == 3
    assert_same(best.network, last.network)


def test_a_run_is_fine_tuned_from_another_fold_by_fold(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache, "--folds", "0,1", "--training.epochs", "6")
    other, options = home_of(cache), ["--run", "tuned", "--training.epochs", "1", "--training.max_lr", "1e-6"]
    fit(cache, "--folds", "1", "--training.start_from", str(other), "--training.freeze_epochs", "1", *options)
    assert f"starting from {other / 'fold1' / 'best.pt'}" in capsys.readouterr().out
    tuned = load_checkpoint(other.parent / "tuned" / "fold1" / "best.pt").network
    trunk = {
        name: value for name, value in load_checkpoint(other / "fold1" / "best.pt").network.items() if "trunk" in name
    }
    assert_same({name: tuned[name] for name in trunk}, trunk)
    with pytest.raises(BadInput, match=r"no best\.pt of fold 2 \(fold0, fold1 there\)"):
        fit(cache, "--folds", "2", "--training.start_from", str(other), *options)
