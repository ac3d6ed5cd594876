"""A step in float16: the loss is scaled, a step that is not finite is skipped, and a resumed run keeps the scale."""

import copy
import functools
from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import UserError
from recipe.cli import parse_command
from tests.train.factories import OPTIONS, assert_same, fit, get_run_dir
from train.data.training_set import load_training_set
from train.loop.fold_job import FoldJob
from train.loop.train_fold import train_step
from train.loop.train_state import TrainState, create_train_state
from train.runs.checkpoint import load_checkpoint

FLOAT16 = ("--folds", "0", "--training.precision", "float16")


def start(cache: Path, *options: str) -> tuple[FoldJob, TrainState]:
    command = parse_command([*OPTIONS[:-2], "--cache", str(cache), *options], "test")
    cpu = torch.device("cpu")
    training_set = load_training_set(command.recipe, command.run_paths, cpu)
    job = FoldJob(command.recipe, training_set, 0, 0, cache, cpu)
    return job, create_train_state(job, n_steps=20)


def weights_of(train_state: TrainState) -> dict[str, Any]:
    return copy.deepcopy(dict(train_state.network.named_parameters()))


@pytest.mark.parametrize("clip_gradient", ["0", "5"])
@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_step_whose_gradients_are_not_finite_is_skipped(cache: Path, optimizer: str, clip_gradient: str) -> None:
    keys = ["--training.optimizer", optimizer, "--training.clip_gradient", clip_gradient]
    job, train_state = start(cache, *FLOAT16[2:], *keys)
    training, batch = job.recipe.training, next(iter(job.batches(0)))
    train_state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = weights_of(train_state)
    assert train_step(train_state, train_state.network.train(), batch, training).isfinite()
    assert train_state.scaler.get_scale() == 2.0**39
    assert_same(weights_of(train_state), before)
    n_steps = 1
    while torch.equal(weights_of(train_state)["head.2.weight"], before["head.2.weight"]):
        train_step(train_state, train_state.network, batch, training)
        n_steps += 1
    assert all(weight.isfinite().all() for weight in weights_of(train_state).values())
    assert train_state.scaler.get_scale() == 2.0 ** (40 - n_steps + 1), "the last step was the first not skipped"


def test_a_float16_step_is_nearly_that_of_float32(cache: Path) -> None:
    moved = []
    for precision in ("float16", "float32"):
        keys = ["--training.precision", precision, "--training.optimizer", "sgd", "--training.clip_gradient", "0"]
        job, train_state = start(cache, *keys)
        train_state.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, enabled=precision == "float16")
        before = weights_of(train_state)
        train_step(train_state, train_state.network.train(), next(iter(job.batches(0))), job.recipe.training)
        assert train_state.scaler.get_scale() == (2.0**10 if precision == "float16" else 1), "it was not skipped"
        after = weights_of(train_state)
        moved.append(torch.cat([(after[name] - before[name]).flatten() for name in after]).detach())
    assert torch.nn.functional.cosine_similarity(moved[0], moved[1], dim=0) > 0.97
    assert 0.9 < float(moved[0].norm() / moved[1].norm()) < 1.1


def test_a_resumed_run_goes_on_with_its_scale(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.amp, "GradScaler", functools.partial(torch.amp.GradScaler, init_scale=2.0**20))
    fit(cache, *FLOAT16)
    undisturbed = load_checkpoint(get_run_dir(cache) / "fold0" / "last.pt")
    assert undisturbed.resume
    assert undisturbed.resume["scaler"]["scale"] < 2.0**20, "some steps were skipped"

    with monkeypatch.context() as stopping:
        stopping.setattr("train.loop.train_fold.make_checkpoint", stop_in_epoch(2))
        with pytest.raises(KeyboardInterrupt):
            fit(cache, *FLOAT16, "--run", "stopped")
    path = get_run_dir(cache).parent / "stopped" / "fold0" / "last.pt"
    assert load_checkpoint(path).epoch == 1
    fit(cache, *FLOAT16, "--run", "stopped", "--resume")
    resumed = load_checkpoint(path)
    assert_same(resumed.network, undisturbed.network)
    assert resumed.resume
    assert_same(resumed.resume["scaler"], undisturbed.resume["scaler"])


def stop_in_epoch(epoch: int) -> Any:
    """make_checkpoint, but for an interrupt in that epoch."""
    from train.loop.train_fold import make_checkpoint

    def stopping(job: FoldJob, train_state: TrainState, *more: Any, **keys: Any) -> Any:
        if train_state.epoch == epoch:
            raise KeyboardInterrupt
        return make_checkpoint(job, train_state, *more, **keys)

    return stopping


def test_gradients_that_are_never_finite_end_the_run_in_a_line(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny = functools.partial(torch.amp.GradScaler, init_scale=2.0**-9)
    monkeypatch.setattr(torch.amp, "GradScaler", tiny)
    monkeypatch.setattr("train.loop.train_fold.batch_loss", lambda logits, *_: (logits.sum() * 0).sqrt())
    with pytest.raises(UserError, match=r"^the gradients were not finite again and again in epoch 1: lower .*float32$"):
        fit(cache, *FLOAT16)
