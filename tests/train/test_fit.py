"""make train: the command a user types, on seconds of frames."""

import functools
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from core.errors import UserError
from core.file_lock import file_lock
from predict.inference.run_loader import load_run
from predict.run import main as predict
from predict.score import main as score
from preprocess.store.reader import open_store
from recipe import Prediction
from tests.train.factories import (
    LABELS,
    OPTIONS,
    assert_same,
    files_of,
    fit,
    get_run_dir,
    write_training_dataset,
)
from train import find_lr
from train.data.batches import Batches
from train.data.random_streams import seeded_generator
from train.evaluate.metrics import lwlrap
from train.evaluate.score_table import read_scores
from train.loop.losses import batch_loss
from train.loop.train_fold import train_epoch
from train.loop.train_state import TrainState
from train.networks.factory import AudioNetwork
from train.runs.checkpoint import load_checkpoint, save_checkpoint

ROOT = Path(__file__).parent.parent.parent


def lwlrap_of_all(cache: Path) -> float:
    """Of the run's out-of-fold scores of curated clips, one label each."""
    scores = read_scores(get_run_dir(cache) / "oof.csv").values[:15]
    own = scores[range(15), [number % 3 for number in range(15)]]
    return float((1 / (scores >= own[:, None]).sum(1)).mean())


def test_all_folds_leave_checkpoints_logs_and_scores_of_every_clip(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--training.epochs", "8", "--training.metric", "lwlrap")
    run_dir = get_run_dir(cache)
    for fold in range(3):
        best, last = (load_checkpoint(run_dir / f"fold{fold}" / name) for name in ("best.pt", "last.pt"))
        assert (best.fold, best.labels, last.epoch) == (fold, list(LABELS), 8)
        log = pd.read_csv(run_dir / f"fold{fold}" / "log.csv")
        assert log["epoch"].tolist() == list(range(1, 9))
        assert best.score == log["lwlrap"].max() == log["lwlrap"][best.epoch - 1]
        expected = (
            "train_loss val_loss lwlrap map accuracy f1_micro f1_macro hamming lr train_s samples_per_s memory_mb"
        )
        assert set(expected.split()) <= set(log.columns)
    scores = read_scores(run_dir / "oof.csv")
    assert scores.clips == [f"clip {number}.wav" for number in range(18)]
    right = (scores.values.argmax(1) == [number % 3 for number in range(18)]).mean()
    assert right > 0.9
    printed = capsys.readouterr().out
    assert "fold  clips  lwlrap" in printed
    assert " all     15" in printed, "the noisy clips are scored, but do not count"
    assert (
        "training.metric = lwlrap: each network's epoch was chosen by the clips it is scored on, so too high" in printed
    )


@pytest.mark.parametrize("normalise", ["overall", "bins"])
def test_a_network_normalises_by_the_clips_it_is_trained_on_alone(cache: Path, normalise: str) -> None:
    """Neither held-out clips nor noisy ones that are not drawn have a part in it, and prediction uses what is kept."""
    options = ["--training.epochs", "1", "--network.normalise", normalise, "--training.noisy_rate", "0"]
    fit(cache, *options)
    with open_store(cache / "recipe" / "features.h5") as store:
        frames = [store.read(row).astype(np.float64) for row in range(18)]
    networks = load_run(get_run_dir(cache), Prediction()).folds
    for fold, (network,) in networks.items():
        seen_by = np.concatenate([frames[number] for number in range(15) if number // 3 % 3 != fold])
        mean, std = (seen_by.mean(0), seen_by.std(0)) if normalise == "bins" else (seen_by.mean(), seen_by.std())
        kept = network.state_dict()
        np.testing.assert_allclose(kept["frontend.mean"], np.broadcast_to(mean, 8), rtol=1e-6)
        np.testing.assert_allclose(kept["frontend.std"], np.broadcast_to(std, 8), rtol=1e-6)
    assert len({float(network.state_dict()["frontend.mean"][0]) for (network,) in networks.values()}) == 3


def test_a_loss_that_is_not_finite_stops_the_run_and_says_where(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(100))

    def burst(*arguments: Any) -> Tensor:
        return batch_loss(*arguments) * (float("nan") if next(calls) == 5 else 1)

    monkeypatch.setattr("train.loop.train_fold.batch_loss", burst)
    with pytest.raises(
        UserError, match=r"became nan in epoch 2 at step 3 of 3, learning rate \S+: lower training\.max_lr"
    ):
        fit(cache, "--folds", "2")
    assert load_checkpoint(get_run_dir(cache) / "fold2" / "last.pt").epoch == 1


@pytest.mark.parametrize("name", ["head.2.bias", "trunk.0.1.running_var"])
def test_weights_that_are_not_finite_stop_the_run(cache: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def diverge(job: Any, train_state: TrainState, *arguments: Any) -> dict[str, float]:
        row = train_epoch(job, train_state, *arguments)
        train_state.network.state_dict()[name][0] = float("inf")  # with which scores may still be finite
        return row

    monkeypatch.setattr("train.loop.train_fold.train_epoch", diverge)
    with pytest.raises(UserError, match=r"scores became nan in epoch 1: lower training\.max_lr"):
        fit(cache, "--folds", "2")


@pytest.mark.parametrize("metric", ["last", "map"])
def test_epochs_without_validation_have_no_scores_and_train_alike(cache: Path, metric: str) -> None:
    def train(name: str, *more: str) -> tuple[pd.DataFrame, dict[str, Tensor], int]:
        fit(cache, "--run", name, "--folds", "0", "--training.epochs", "7", "--training.metric", metric, *more)
        folder = get_run_dir(cache).with_name(name) / "fold0"
        best = load_checkpoint(folder / "best.pt")
        return pd.read_csv(folder / "log.csv"), load_checkpoint(folder / "last.pt").network, best.epoch

    (every, network, _), (third, same_network, best_epoch) = (
        train("every"),
        train("third", "--training.validate_every", "3"),
    )
    assert_same(network, same_network)
    assert third["train_loss"].tolist() == every["train_loss"].tolist()
    validated = third[third["lwlrap"].notna()]
    assert validated["epoch"].tolist() == [3, 6, 7], "every third, and the last one"
    assert validated["map"].tolist() == every.loc[validated.index, "map"].tolist()
    scores = dict(zip(validated["map"], validated["epoch"], strict=True))  # the last epoch of equal scores
    assert best_epoch == (7 if metric == "last" else scores[max(scores)])


def test_a_fold_whose_clips_have_no_label_keeps_its_last_epoch(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips_csv = cache / "recipe" / "clips.csv"
    clips = pd.read_csv(clips_csv, keep_default_na=False)
    clips.loc[clips["fold"] == 1, "labels"] = ";"
    clips.to_csv(clips_csv, index=False)
    fit(cache, "--training.metric", "lwlrap")
    assert load_checkpoint(get_run_dir(cache) / "fold1" / "best.pt").epoch == 3
    assert (get_run_dir(cache) / "oof.csv").exists()
    fit(cache, "--training.metric", "lwlrap")
    assert "run recipe is finished" in capsys.readouterr().out


def test_a_start_that_lacks_a_fold_is_refused_before_any_is_trained(cache: Path) -> None:
    fit(cache, "--folds", "0", "--run", "begun", "--training.epochs", "1")
    with pytest.raises(UserError, match=r"no best\.pt of fold [12] \(fold0 there\)"):
        fit(cache, "--training.start_from", str(get_run_dir(cache).with_name("begun")))
    assert not list(get_run_dir(cache).glob("fold*"))


@pytest.mark.parametrize("cpu", [False, True])
def test_a_full_device_says_what_to_lower(cache: Path, monkeypatch: pytest.MonkeyPatch, cpu: bool) -> None:
    def run_out(*_: Any) -> Tensor:
        if cpu:
            torch.empty(1 << 60, dtype=torch.uint8)
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("train.loop.train_fold.batch_loss", run_out)
    with pytest.raises(UserError, match=r"training\.batch_size = 4 .* training\.crop_seconds = 1\.6: try .* 2"):
        fit(cache)


def test_a_full_host_says_what_to_lower(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_out(*_: Any) -> Tensor:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(AudioNetwork, "forward", run_out)
    with pytest.raises(UserError, match=r"cpu has too little memory for training\.batch_size = 4 .*: try .* 2"):
        fit(cache)


def test_each_batch_is_one_optimizer_step_and_one_of_the_schedule(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"batches": 0, "optimizer": 0}
    real_iter, real_step = Batches.__iter__, torch.optim.AdamW.step

    def batches(self: Batches) -> Iterator[Any]:
        for batch in real_iter(self):
            counts["batches"] += 1
            yield batch

    def step(self: torch.optim.AdamW, *arguments: Any, **keys: Any) -> Any:
        counts["optimizer"] += 1
        return real_step(self, *arguments, **keys)

    monkeypatch.setattr(Batches, "__iter__", batches)
    monkeypatch.setattr(torch.optim.AdamW, "step", step)
    fit(cache, "--folds", "2", "--training.epochs", "4")
    assert counts == {"batches": 12, "optimizer": 12}, "twelve clips in fours, four epochs"
    schedule = load_checkpoint(get_run_dir(cache) / "fold2" / "last.pt").resume
    assert schedule is not None
    assert schedule["schedule"]["last_epoch"] == schedule["n_steps"] == 12


def test_no_generator_is_used_twice(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither for two purposes, nor in two epochs, folds or seeds."""
    seeds, purposes = (
        [],
        ("dropout", "order", "crops", "mixup power_mix crossfade", "noise", "white noise", "time_mask"),
    )

    def recorded(device: torch.device, purpose: str, *keys: int) -> torch.Generator:
        generator = seeded_generator(device, purpose, *keys)
        if "train_epoch" in (sys._getframe(depth).f_code.co_name for depth in range(2, 9)):
            assert purpose in purposes
            seeds.append(generator.initial_seed())
        return generator

    monkeypatch.setattr("train.loop.fold_job.seeded_generator", recorded)
    monkeypatch.setattr("train.data.random_streams.seeded_generator", recorded)
    probabilities = "mixup_probability", "noise_probability", "time_mask_probability"
    fit(cache, "--training.seeds", "2", *(f"--training.{name}=0.5" for name in probabilities))
    assert len(seeds) == 3 * 2 * 3 * len(purposes), "folds, seeds, epochs, purposes"
    assert len(set(seeds)) == len(seeds)


def test_what_metrics_leave_out_is_of_curated_clips(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    clips_csv = cache / "recipe" / "clips.csv"
    clips = pd.read_csv(clips_csv, keep_default_na=False)
    is_curated = clips["label_quality"] == "curated"
    clips.loc[is_curated & (clips["labels"] == LABELS[2]), "labels"] = LABELS[0]
    clips.loc[clips.index[-1], ["labels", "label_quality"]] = "", "unlabelled"
    clips.loc[clips.index[-2], "labels"] = LABELS[2]
    clips.to_csv(clips_csv, index=False)
    fit(cache, "--folds", "0", "--training.epochs", "1")
    printed = capsys.readouterr().out
    assert f"labels no clip has are left out of map: {LABELS[2]}" in printed
    assert "clips without a label" not in printed, "the unlabelled one is not scored"


def test_two_commands_do_not_train_one_run(cache: Path) -> None:
    lock = get_run_dir(cache).parent / ".recipe.lock"
    with file_lock(lock, "make train"), pytest.raises(UserError, match="another make train of run recipe is at work"):
        fit(cache)
    assert not get_run_dir(cache).exists()


def test_resume_and_restart_contradict_each_other(cache: Path) -> None:
    with pytest.raises(UserError, match=r"--resume .* --restart .*: give one"):
        fit(cache, "--resume", "--restart")


def test_resume_of_a_run_that_is_not_there_is_refused(cache: Path) -> None:
    message = r"--resume: there is no network in .*runs/recipe: correct --run, or train without"
    with pytest.raises(UserError, match=message):
        fit(cache, "--resume")
    assert not get_run_dir(cache).exists()
    find_lr.main([*OPTIONS, "--cache", str(cache), "--steps", "10"])
    before = files_of(get_run_dir(cache))
    assert before, "the curve of make lr"
    with pytest.raises(UserError, match=message):
        fit(cache, "--resume")
    assert files_of(get_run_dir(cache)) == before


def test_an_unfinished_run_teaches_and_is_started_from_with_a_warning(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--run", "before", "--folds", "0", "--training.epochs", "2")
    before = get_run_dir(cache).with_name("before")
    for key in ("start_from", "teacher"):
        options = ["--run", key, "--folds", "0", "--training.epochs", "1", f"--training.{key}", str(before)]
        fit(cache, *options)
        assert "used anyway" not in capsys.readouterr().err
        log = before / "fold0" / "log.csv"
        whole = log.read_text(encoding="utf-8")
        log.write_text("".join(whole.splitlines(keepends=True)[:2]), encoding="utf-8")
        fit(cache, *options, "--restart")
        message = "before/fold0/best.pt has 1 of 2 epochs and is used anyway: make train finishes it"
        assert capsys.readouterr().err.count(message) == 1
        log.write_text(whole, encoding="utf-8")


def test_batches_of_one_clip_are_refused_where_nothing_could_be_normalised(cache: Path) -> None:
    options = ["--training.batch_size", "1", "--training.crop_seconds", "0.1", "--prediction.window_seconds", "0.1"]
    with pytest.raises(UserError, match=r"training\.batch_size = 1: network\.name = resnet18"):
        fit(cache, "--network.name", "resnet18", *options)
    assert not get_run_dir(cache).exists()


def test_what_the_disk_refuses_is_named(cache: Path) -> None:
    runs = get_run_dir(cache).parent
    runs.write_text("in the way")
    with pytest.raises(OSError, match=re.escape(str(runs))):
        fit(cache, "--training.epochs", "1")


def test_a_run_that_cannot_go_on_is_refused_and_keeps_what_it_has(cache: Path) -> None:
    fit(cache, "--training.epochs", "1")
    best, clips_csv = get_run_dir(cache) / "fold1" / "best.pt", cache / "recipe" / "clips.csv"
    before = files_of(get_run_dir(cache))
    assert get_run_dir(cache) / "oof.csv" in before
    best.unlink()
    with pytest.raises(UserError, match=r"fold1/best\.pt is gone"):
        fit(cache, "--training.epochs", "1", "--resume")
    best.write_bytes(before[best])
    last, log = best.with_name("last.pt"), best.with_name("log.csv")
    resume = load_checkpoint(last).resume or {}
    save_checkpoint(last, replace(load_checkpoint(last), resume={k: v for k, v in resume.items() if k != "n_averaged"}))
    with pytest.raises(UserError, match=r"fold1/last\.pt lacks n_averaged"):
        fit(cache, "--training.epochs", "1", "--resume")
    last.write_bytes(before[last])
    network = load_checkpoint(last).network
    save_checkpoint(last, replace(load_checkpoint(last), network={name[1:]: value for name, value in network.items()}))
    with pytest.raises(UserError, match=r"fold1/last\.pt holds the weights of another version's network"):
        fit(cache, "--training.epochs", "1", "--resume")
    last.write_bytes(before[last])
    log.write_text(log.read_text().replace("\n1,", "\n1.0,"))
    with pytest.raises(UserError, match=r"fold1/log\.csv: its epochs are no longer 1 to 1"):
        fit(cache, "--training.epochs", "1", "--resume")
    log.write_bytes(before[log])
    clips = pd.read_csv(clips_csv, keep_default_na=False)
    clips["labels"] = clips["labels"].to_numpy()[::-1]
    clips.to_csv(clips_csv, index=False)
    with pytest.raises(UserError, match="have changed since"):
        fit(cache, "--training.epochs", "1", "--resume")
    assert files_of(get_run_dir(cache)) == before


def test_a_run_does_not_go_on_with_other_recordings_of_the_same_names(cache: Path) -> None:
    fit(cache, "--training.epochs", "1", "--folds", "0")
    before = files_of(get_run_dir(cache))
    write_training_dataset(cache, noisy=3, seed=1)
    with pytest.raises(UserError, match=r"the training clips, their recordings, their labels, .* have changed since"):
        fit(cache, "--training.epochs", "1", "--folds", "0", "--resume")
    assert files_of(get_run_dir(cache)) == before
    write_training_dataset(cache, noisy=3)
    fit(cache, "--training.epochs", "1", "--folds", "0", "--resume")


def test_folds_may_be_trained_one_by_one(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache, "--folds", "0", "2")
    assert "waits for folds 1" in capsys.readouterr().out
    assert not (get_run_dir(cache) / "oof.csv").exists()
    kept = (get_run_dir(cache) / "fold0" / "last.pt").read_bytes()
    fit(cache, "--folds", "1")
    assert (get_run_dir(cache) / "oof.csv").exists()
    assert (get_run_dir(cache) / "fold0" / "last.pt").read_bytes() == kept


def test_several_seeds_train_several_networks_a_fold(cache: Path) -> None:
    fit(cache, "--training.seeds", "2", "--folds", "0")
    one, two = (load_checkpoint(get_run_dir(cache) / f"fold0_seed{seed}" / "best.pt") for seed in range(2))
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
        (["--training.max_lr", "[1e-3,1e-2]"], "a list has 3 rates"),
        (["--training.stages", "[[2,1e-3]]"], r"training\.stages have 2 epochs, and training\.epochs = 3: "),
        (["--training.stages", "[[3,0]]"], r"training\.stages\[0\] = 0.*: must rise within"),
        (["--training.freeze_epochs", "[1,1,1]"], "one for each half of the trunk"),
        (["--training.corrections", "nowhere.csv"], "nowhere.csv is not there"),
        (["--training.start_from", "nowhere"], r"training\.start_from = nowhere: no best\.pt of fold 0"),
        (["--features.n_bins", "9"], "n_bins was 8, is 9"),
        (["--training.progressive", "[0.25,0.5,0.75,1]"], r"training\.progressive = .* training\.epochs = 3"),
    ],
)
def test_bad_input_is_one_line_that_names_it(cache: Path, options: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        fit(cache, *options)
    assert "\n" not in str(caught.value)


def test_another_recipe_does_not_resume_a_run_but_sets_it_aside(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--folds", "0,1")
    with pytest.raises(UserError, match=r"training\.epochs = 3"):
        fit(cache, "--folds", "0", "--training.epochs", "4", "--resume")
    assert (get_run_dir(cache) / "fold1").exists()
    fit(cache, "--folds", "0", "--training.epochs", "4")
    assert "was trained with training.epochs = 3: it is now run recipe-1" in capsys.readouterr().out
    assert not (get_run_dir(cache) / "fold1").exists()
    assert (get_run_dir(cache).with_name("recipe-1") / "fold1" / "best.pt").exists()


@pytest.mark.parametrize("wrong", ["--network.name waveform", "--network.name alexnet", "--training.start_from no.pt"])
def test_what_cannot_be_trained_leaves_the_run_as_it_was(cache: Path, wrong: str) -> None:
    fit(cache, "--folds", "0", "--training.epochs", "1")
    before = files_of(get_run_dir(cache).parent)
    with pytest.raises(UserError):
        fit(cache, *wrong.split())
    assert files_of(get_run_dir(cache).parent) == before


def test_without_tensorboard_nothing_of_a_run_is_touched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(cache, "--folds", "0", "--training.epochs", "1")
    before = files_of(get_run_dir(cache))
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match="pip install tensorboard"):
        fit(cache, "--folds", "0", "--training.epochs", "1", "--tensorboard")
    assert files_of(get_run_dir(cache)) == before


def test_without_a_compiler_nothing_of_a_run_is_touched(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise RuntimeError("No working C++ compiler found")

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail))
    with pytest.raises(UserError, match=r"training\.compile: No working C\+\+ compiler found"):
        fit(cache, "--folds", "0", "--training.compile", "true")
    assert not get_run_dir(cache).exists()


def test_folds_that_the_data_no_longer_have_go_with_their_networks(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--training.epochs", "1")
    run_dir, clips_csv = get_run_dir(cache), cache / "recipe" / "clips.csv"
    clips = pd.read_csv(clips_csv, keep_default_na=False)
    clips["fold"] = clips["fold"] % 2
    clips.to_csv(clips_csv, index=False)
    with pytest.raises(UserError, match="have changed since"):
        fit(cache, "--training.epochs", "1", "--resume")
    assert (run_dir / "fold2" / "best.pt").exists()
    fit(cache, "--training.epochs", "1", "--folds", "0")
    assert "fold2 is removed, for the clips have no fold 2 any more" in capsys.readouterr().out
    assert sorted(path.name for path in run_dir.glob("fold*")) == ["fold0", "fold1"]
    assert set(load_run(run_dir, Prediction()).folds) == {0, 1}


def test_tensorboard_is_written_where_asked_for(cache: Path) -> None:
    fit(cache, "--folds", "0", "--tensorboard")
    assert list((get_run_dir(cache) / "fold0" / "tensorboard").glob("events.*"))


@pytest.mark.parametrize(
    "options",
    [
        "--training.optimizer sgd --training.schedule plateau --training.metric map --training.validate_every 2",
        "--training.optimizer adam --training.schedule cosine --training.metric last",
        "--training.loss cross_entropy --training.metric accuracy --training.label_smoothing 0.1",
        "--training.loss focal --training.schedule constant --training.clip_gradient 0",
        "--training.progressive [0.5,1] --network.normalise bins --network.pooling attention --network.hidden 8",
        "--training.precision bfloat16 --network.channels deltas",
        "--training.precision float16 --training.optimizer sgd --training.clip_gradient 0",
        "--training.noisy_weight 0",
    ],
)
def test_every_way_of_training_trains(cache: Path, options: str) -> None:
    fit(cache, "--folds", "0", *options.split())
    assert load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt").epoch == 3


def test_frames_from_the_file_train_the_same_network_and_small_buffers_another(cache: Path) -> None:
    def weights(run: str, *options: str) -> dict[str, Tensor]:
        fit(cache, "--folds", "0", "--run", run, *options)
        return load_checkpoint(get_run_dir(cache).parent / run / "fold0" / "last.pt").network

    in_memory = weights("memory")
    assert_same(weights("file", "--training.frame_storage", "file"), in_memory)
    small = ["--training.frame_storage", "file", "--training.shuffle_buffer_mb", "0.001"]
    with patch("train.data.frame_bank.EXTENT_BYTES", 512):
        shuffled = weights("small", *small)
        assert not torch.equal(shuffled["head.2.weight"], in_memory["head.2.weight"])
        assert_same(weights("again", *small), shuffled)


def test_a_compiled_network_trains_and_is_kept_under_the_same_names(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the backend that only traces: real compilation takes a minute and a compiler."""
    fit(cache, "--folds", "0")
    plain = load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt").network
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    fit(cache, "--folds", "0", "--training.compile", "true")
    assert_same(load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt").network, plain)


def test_a_network_that_cannot_be_compiled_ends_the_run_in_a_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail_beyond_the_trial(graph: torch.fx.GraphModule, _: list[Tensor]) -> Callable[..., Any]:
        if len(graph.graph.nodes) > 3:
            raise NotImplementedError("no code for this\nnor for that")
        return graph.forward

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend=fail_beyond_the_trial))
    line = r"^training\.compile: the network cannot be compiled \(no code for this\); set it to false$"
    with pytest.raises(UserError, match=line):
        fit(cache, "--folds", "0", "--training.compile", "true")
    assert load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt").epoch == 0


@pytest.mark.parametrize("error", [RuntimeError("shapes"), KeyboardInterrupt()])
def test_other_errors_beside_a_compiled_network_stay_what_they_are(
    cache: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    def fail(*_: object) -> NoReturn:
        raise error

    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    monkeypatch.setattr("train.loop.train_fold.batch_loss", fail)
    with pytest.raises(type(error)) as caught:
        fit(cache, "--folds", "0", "--training.compile", "true")
    assert caught.value is error


def test_the_last_epoch_is_kept_and_the_best_one_by_the_fold_said_beside_it(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fit(cache, "--training.epochs", "5")
    best, last = (load_checkpoint(get_run_dir(cache) / "fold0" / name) for name in ("best.pt", "last.pt"))
    assert best.epoch == 5
    assert_same(best.network, last.network)
    printed, paths = capsys.readouterr().out, [get_run_dir(cache) / f"fold{fold}" / "log.csv" for fold in range(3)]
    best_lwlrap = np.mean([pd.read_csv(path)["lwlrap"].max() for path in paths])
    assert re.search(rf"^best epoch by this fold, .*, lwlrap {best_lwlrap:.4f} \(chosen by", printed, flags=re.M)
    assert "training.metric" not in printed
    for path, best_accuracy in zip(paths, (0.95, 0.97, 0.99), strict=True):
        log = pd.read_csv(path).assign(accuracy=0.6, lwlrap=0.7)
        log.loc[1, "accuracy"], log.loc[2, "lwlrap"] = best_accuracy, 0.9
        log.to_csv(path, index=False)
    line = "best epoch by this fold, as others report it: accuracy 0.9700, lwlrap 0.9000 (chosen by the clips it is"
    options = ["--cache", str(cache), "--submissions", str(cache / "submissions"), *OPTIONS[:-2]]
    predict([*options, "--device", "cpu"])
    capsys.readouterr()
    score(options)
    printed = capsys.readouterr().out
    assert line in printed, "beside the score of the same clips by the networks of their folds"
    assert f"lwlrap         {lwlrap_of_all(cache):.4f}" in printed


def test_scores_of_votes_rank_alike_in_the_log_and_in_the_submission(
    cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the same clips by the same networks; most labels have no vote."""
    votes = ["--prediction.pooling", "vote_fraction", "--prediction.window_threshold", "0.9"]
    fit(cache, *votes)
    assert "score is the share of its windows above 0.9, and of equal shares the" in capsys.readouterr().out
    options = ["--cache", str(cache), "--submissions", str(cache / "submissions"), *OPTIONS[:-2], *votes]
    predict([*options, "--device", "cpu"])
    assert "score is the share of its windows above 0.9, and of equal shares the" in capsys.readouterr().out
    table = read_scores(cache / "submissions" / "recipe" / "submission.csv")
    assert (table.values < 0.001).mean() > 0.3
    for fold in range(3):
        rows = [
            row
            for row, clip in enumerate(table.clips)
            if clip in {f"clip {n}.wav" for n in range(15) if n // 3 % 3 == fold}
        ]
        truth = torch.eye(3)[[int(table.clips[row][5:-4]) % 3 for row in rows]]
        logged = pd.read_csv(get_run_dir(cache) / f"fold{fold}" / "log.csv")["lwlrap"].iloc[-1]
        assert lwlrap(truth, torch.from_numpy(table.values[rows])) == pytest.approx(logged, abs=1e-5)
    score(options)
    assert f"lwlrap         {lwlrap_of_all(cache):.4f}" in capsys.readouterr().out


def test_a_run_is_fine_tuned_from_another_fold_by_fold(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(cache, "--folds", "0,1", "--training.epochs", "6")
    other, options = get_run_dir(cache), ["--run", "tuned", "--training.epochs", "1", "--training.max_lr", "1e-6"]
    fit(cache, "--folds", "1", "--training.start_from", str(other), "--training.freeze_epochs", "1", *options)
    assert f"starting from {other / 'fold1' / 'best.pt'}" in capsys.readouterr().out
    tuned = load_checkpoint(other.parent / "tuned" / "fold1" / "best.pt").network
    trunk = {
        name: value for name, value in load_checkpoint(other / "fold1" / "best.pt").network.items() if "trunk" in name
    }
    assert_same({name: tuned[name] for name in trunk}, trunk)
    with pytest.raises(UserError, match=r"no best\.pt of fold 2 \(fold0, fold1 there\)"):
        fit(cache, "--folds", "2", "--training.start_from", str(other), *options)


def test_each_seed_of_a_fold_starts_from_a_network_of_its_own(cache: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = get_run_dir(cache).with_name("seeds")
    fit(cache, "--run", "seeds", "--folds", "1", "--training.epochs", "1", "--training.seeds", "2")
    capsys.readouterr()
    options = ["--training.start_from", str(other), "--training.seed", "5", "--training.seeds", "3"]
    fit(cache, "--folds", "1", "--training.epochs", "1", *options)
    lines = [line for line in capsys.readouterr().out.splitlines() if "starting from" in line]
    assert [line.split()[0] for line in lines] == ["fold1_seed0", "fold1_seed1", "fold1_seed2"]
    expected = [other / f"fold1_seed{seed}" / "best.pt" for seed in (0, 1, 0)]
    assert all(str(path) in line for path, line in zip(expected, lines, strict=True))
