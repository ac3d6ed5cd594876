"""The same run twice: from the same seed, killed and resumed, interrupted."""

import shutil
import signal
from pathlib import Path

import pandas as pd
import pytest
import torch

from core.errors import UserError
from predict.inference.run_loader import load_run
from recipe import Prediction
from tests.train.factories import (
    assert_same,
    files_of,
    fit,
    get_run_dir,
    start_training,
    wait_for,
    write_training_dataset,
)
from train.runs.checkpoint import Checkpoint, load_checkpoint, save_checkpoint

# Everything whose state a resumed run must find again: momenta, a schedule, an average, dropout, noisy clips, mixing.
STATEFUL = (
    "--training.ema_decay 0.9 --network.dropout 0.3 --training.mixup_probability 0.5 --training.noise_probability 0.5 "
    "--training.bootstrap_beta 0.7 --training.freeze_epochs [2,1] --training.freeze_batch_norm false "
    "--training.max_lr 1e-3..1e-2"
)


TWELVE_EPOCHS = ["--training.epochs", "12"]


def train_once(cache: Path, *options: str) -> Path:
    """The cache, with a small data set and its finished run."""
    write_training_dataset(cache, noisy=3)
    fit(cache, *options)
    return cache


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a run of twelve epochs; for tests that change nothing in it."""
    return train_once(tmp_path_factory.mktemp("finished"), *TWELVE_EPOCHS)


@pytest.fixture(scope="module")
def stateful(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a run of STATEFUL; for tests that change nothing in it."""
    return train_once(tmp_path_factory.mktemp("stateful"), *STATEFUL.split())


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
    cache: Path, stateful: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = tmp_path_factory.mktemp("other")
    write_training_dataset(other, noisy=3)
    process = start_training(cache, *STATEFUL.split())
    printed, complaints = process.communicate()
    assert process.returncode == 0, complaints
    assert [line.split()[:2] for line in complaints.splitlines()] == [[f"fold{fold}:", "3/3"] for fold in range(3)]
    assert "label_issues.csv" in printed
    assert_same_run(stateful, cache)
    fit(other, *STATEFUL.split(), "--training.seed", "1", "--folds", "0")
    one, two = (load_checkpoint(get_run_dir(each) / "fold0" / "last.pt").network for each in (stateful, other))
    assert not torch.equal(one["head.2.weight"], two["head.2.weight"])


def test_a_run_killed_anywhere_and_resumed_ends_as_an_undisturbed_one(
    cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    options = [*STATEFUL.split(), *TWELVE_EPOCHS, "--training.stages", "[[5, 1e-3], [7, 1e-3..1e-2]]"]
    undisturbed = train_once(tmp_path_factory.mktemp("undisturbed"), *options)
    process = start_training(cache, *options)
    log = get_run_dir(cache) / "fold1" / "log.csv"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 3, process)
    process.kill()
    process.communicate()
    assert load_checkpoint(get_run_dir(cache) / "fold1" / "last.pt").epoch < 12
    fit(cache, *options)
    assert_same_run(undisturbed, cache)


def test_an_interrupt_leaves_a_usable_checkpoint_and_one_line(cache: Path) -> None:
    process = start_training(cache, "--training.epochs", "10000")
    last = get_run_dir(cache) / "fold0" / "last.pt"
    wait_for(last.exists, process)
    process.send_signal(signal.SIGINT)
    _, complaints = process.communicate()
    assert process.returncode == 130
    progress, line = complaints.splitlines()
    assert progress.startswith("fold0: ")
    assert line == "earmark: interrupted; the same command goes on after the last whole epoch"
    assert load_checkpoint(last).resume is not None


def test_an_interrupt_in_the_first_epoch_loses_no_more_than_it(
    cache: Path, stateful: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("train.loop.train_fold.batch_loss", interrupt)
        fit(cache, *STATEFUL.split())
    assert load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt").epoch == 0
    fit(cache, *STATEFUL.split(), "--resume")
    assert_same_run(stateful, cache)


def stop_while_anew(cache: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> None:
    """Start training anew beside a finished run, and interrupt it after an epoch of fold 1."""

    def save_and_stop(path: Path, checkpoint: Checkpoint) -> None:
        save_checkpoint(path, checkpoint)
        if path.name == "last.pt" and (checkpoint.fold, checkpoint.epoch) == (1, 1):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr("train.loop.train_fold.save_checkpoint", save_and_stop)
        fit(cache, *options)


def kill_while_anew(cache: Path, *options: str) -> None:
    """The same by a kill."""
    process = start_training(cache, *options)
    log = get_run_dir(cache).with_name(".recipe.new") / "fold1" / "log.csv"
    wait_for(lambda: log.exists() and len(log.read_text().splitlines()) > 1, process)
    process.kill()
    process.communicate()


def test_a_finished_run_says_so_and_is_kept(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache)
    before, run_dir = files_of(get_run_dir(cache)), get_run_dir(cache)
    capsys.readouterr()
    for more in ([], ["--resume"], ["--folds", "1"], ["--jobs", "2"]):
        fit(cache, *more)
        n_networks = 1 if "--folds" in more else 3
        line = f"run recipe is finished: {n_networks} networks of 3 epochs in {run_dir}; --restart trains them anew\n"
        assert capsys.readouterr() == (line, "")
        assert files_of(run_dir) == before
    fit(cache, "--prediction.hop_seconds", "0.4")
    assert "each scored by networks" in capsys.readouterr().out, "other windows, so other scores"


@pytest.mark.parametrize("anew", [["--restart"], ["--training.max_lr", "1e-4"]])
def test_a_run_trained_anew_keeps_its_networks_until_the_new_ones_are_whole(
    cache: Path,
    finished: Path,
    tmp_path_factory: pytest.TempPathFactory,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    anew: list[str],
) -> None:
    undisturbed, options = finished, TWELVE_EPOCHS
    if "--restart" not in anew:
        undisturbed = train_once(tmp_path_factory.mktemp("undisturbed"), *options, *anew)
    shutil.copytree(finished, cache, dirs_exist_ok=True)
    run_dir = get_run_dir(cache)
    (run_dir / "thresholds.json").write_text("{}")
    before = files_of(run_dir)
    if "--restart" in anew:
        kill_while_anew(cache, *options, *anew)
    else:
        stop_while_anew(cache, monkeypatch, *options, *anew)
    new_dir = run_dir.with_name(".recipe.new")
    assert (new_dir / "fold1" / "log.csv").exists()
    assert files_of(run_dir) == before
    assert load_run(run_dir, Prediction()).folds.keys() == {0, 1, 2}
    capsys.readouterr()
    fit(cache, *options, *anew)
    assert "fold0: 12/12" in capsys.readouterr().err, "it goes on"
    assert_same_run(undisturbed, cache)
    assert not new_dir.exists()
    assert not (run_dir / "thresholds.json").exists(), "of the earlier networks"
    aside = run_dir.with_name("recipe-1")
    assert aside.exists() is ("--restart" not in anew)
    if aside.exists():
        assert {path.relative_to(aside): content for path, content in files_of(aside).items()} == {
            path.relative_to(run_dir): content for path, content in before.items()
        }
    assert [path.name for path in run_dir.parent.iterdir() if path.name.startswith(".")] == [".recipe.lock"]


def test_finished_folds_of_a_run_that_lacks_others_are_said_and_not_begun(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--folds", "0,2", "--training.epochs", "1")
    capsys.readouterr()
    fit(cache, "--folds", "0,2", "--training.epochs", "1")
    output = capsys.readouterr()
    assert output.out.startswith("run recipe is finished in folds 0, 2: 2 networks of 1 epochs in ")
    assert "oof.csv waits for folds 1" in output.out and "epoch/s" not in output.err


def test_going_back_to_the_recipe_of_a_run_finds_it(
    cache: Path, finished: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    options = TWELVE_EPOCHS
    shutil.copytree(finished, cache, dirs_exist_ok=True)
    before = files_of(get_run_dir(cache))
    stop_while_anew(cache, monkeypatch, *options, "--training.max_lr", "1e-4")
    capsys.readouterr()
    fit(cache, *options)
    assert capsys.readouterr().out.startswith("run recipe is finished")
    assert files_of(get_run_dir(cache)) == before
    fit(cache, *options, "--training.max_lr", "1e-5")
    assert "what was trained anew of run recipe is now run recipe-1" in capsys.readouterr().out
    assert (get_run_dir(cache).with_name("recipe-1") / "fold0" / "best.pt").exists()
    aside = files_of(get_run_dir(cache).with_name("recipe-2"))
    assert sorted(aside.values()) == sorted(before.values())


def test_a_first_run_with_restart_goes_on_by_the_same_command(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    stop_while_anew(cache, monkeypatch, "--restart")
    (trained,) = get_run_dir(cache).parent.rglob("fold0/last.pt")
    content = trained.read_bytes()
    fit(cache, "--restart")
    assert "trained anew" not in capsys.readouterr().out, "there were no networks"
    assert (get_run_dir(cache) / "fold0" / "last.pt").read_bytes() == content
    assert not get_run_dir(cache).with_name(".recipe.new").exists()


def test_networks_that_are_only_begun_anew_replace_no_finished_ones(
    cache: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fit(cache)
    run_dir = get_run_dir(cache)
    before = files_of(run_dir / "fold1")
    stop_while_anew(cache, monkeypatch, "--restart")
    anew = (run_dir.with_name(".recipe.new") / "fold0" / "log.csv").read_bytes()
    fit(cache, "--folds", "0")
    assert "the earlier network of fold1 stays, for the new one is not finished" in capsys.readouterr().out
    assert files_of(run_dir / "fold1") == before
    assert (run_dir / "fold0" / "log.csv").read_bytes() == anew
    assert not run_dir.with_name(".recipe.new").exists()


def test_one_fold_trained_anew_leaves_the_others(cache: Path) -> None:
    fit(cache)
    before = files_of(get_run_dir(cache))
    fit(cache, "--restart", "--folds", "1")
    after = files_of(get_run_dir(cache))
    for path, content in before.items():
        assert "fold1" in path.parts or path.suffix != ".pt" or after[path] == content
    assert before.keys() == after.keys()
    assert load_checkpoint(get_run_dir(cache) / "fold1" / "last.pt").epoch == 3


@pytest.mark.parametrize("key", ["start_from", "teacher"])
def test_another_start_or_teacher_under_the_same_name_is_other_training(
    cache: Path, capsys: pytest.CaptureFixture[str], key: str
) -> None:
    first, options = get_run_dir(cache), ["--run", "second", f"--training.{key}", str(get_run_dir(cache))]
    fit(cache, "--training.epochs", "1")
    fit(cache, *options)
    fit(cache, *options)
    assert "run second is finished" in capsys.readouterr().out
    fit(cache, "--training.epochs", "2")
    with pytest.raises(UserError, match=r"or the networks of training\.teacher or training\.start_from have changed"):
        fit(cache, *options, "--resume")
    fit(cache, *options)
    assert "run second is trained anew" in capsys.readouterr().out
    assert first.exists()
