"""SCRIPT make lr: train a little while the learning rate rises, draw the loss against it, and suggest rates."""

import copy
import itertools
import math
from collections.abc import Sequence

import numpy as np
from jsonargparse import ArgumentParser
from matplotlib.figure import Figure
from torch import nn
from tqdm import tqdm

from core.csv_tables import write_table
from core.device import autocast_context, pick_device
from core.entrypoint import run_script
from core.errors import UserError, is_out_of_memory
from core.files import atomic_write
from recipe.cli import parse_command
from train.data.training_set import load_training_set, parse_folds
from train.loop.fold_job import FoldJob
from train.loop.losses import batch_loss
from train.loop.relabel import relabel_noisy_clips
from train.loop.train_state import TrainState, create_train_state, seed_torch

EMA_DECAY = 0.9
DIVERGENCE_FACTOR = 4.0
"""The search ends when the smoothed loss is so many times its lowest."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--fold", type=int | None, help="Fold whose clips are left out; by default the first.")
    parser.add_argument("--steps", type=int, default=100, help="Most steps of the search.")
    parser.add_argument("--min_lr", type=float, default=1e-6, help="First learning rate.")
    parser.add_argument("--max_lr", type=float, default=10.0, help="Last learning rate.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Find a learning rate.", add_options)
    recipe, run_paths, options = command.recipe, command.run_paths, command.options
    if not 0 < options.min_lr < options.max_lr or options.steps < 10:
        raise UserError("--min_lr must be above 0 and below --max_lr, and --steps at least 10")
    device = pick_device(options.device)
    training_set = load_training_set(recipe, run_paths, device)
    available_folds = training_set.fold_numbers()
    fold = parse_folds(str(available_folds[0] if options.fold is None else options.fold), available_folds)[0]
    training_set = relabel_noisy_clips(training_set, recipe, fold, device)
    job = FoldJob(recipe, training_set, fold, recipe.training.seed, run_paths.run_dir, device)
    train_state = create_train_state(job, n_steps=options.steps)
    job.check_input_shapes(train_state.network)
    try:
        learning_rates, losses = run_lr_range_test(
            job, train_state, np.geomspace(options.min_lr, options.max_lr, options.steps)
        )
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(job.describe_memory_advice()) from None
    if not losses:
        raise UserError(
            f"the loss was not finite at --min_lr {options.min_lr:g}: begin lower, or use training.precision float32"
        )
    smoothed = smooth_losses(losses)
    steepest, tenth = suggest_learning_rates(learning_rates, smoothed)
    write_table(
        run_paths.run_dir / "lr.csv", ["lr", "loss", "smoothed"], zip(learning_rates, losses, smoothed, strict=True)
    )
    plot_path = run_paths.run_dir / "lr.png"
    with atomic_write(plot_path) as temporary:
        plot_loss_curve(learning_rates, losses, smoothed, (steepest, tenth)).savefig(temporary, format="png", dpi=120)
    print(f"suggested training.max_lr: {steepest:.1e} (steepest), {tenth:.1e} (minimum / 10); the curve is {plot_path}")


def run_lr_range_test(
    job: FoldJob, train_state: TrainState, learning_rates: np.ndarray
) -> tuple[list[float], list[float]]:
    """Losses of steps at rising rates of the head, the other groups in proportion, until they diverge.

    Weights, running means and the optimizer's state are afterwards as they were.
    """
    training, network, optimizer = job.recipe.training, train_state.network, train_state.optimizer
    saved_state = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    lr_ratios = [group["lr"] / optimizer.param_groups[-1]["lr"] for group in optimizer.param_groups]
    seed_torch(job.seed, job.fold, 1)
    network.train()
    network.freeze(training.freeze_epochs > 0)
    epochs = (job.batches(epoch) for epoch in itertools.count())
    losses: list[float] = []
    for batch, lr in zip(
        itertools.chain.from_iterable(epochs), tqdm(learning_rates, "lr", unit="step", disable=None), strict=False
    ):
        for group, lr_ratio in zip(optimizer.param_groups, lr_ratios, strict=True):
            group["lr"] = lr * lr_ratio
        with autocast_context(job.device, training.precision):
            loss = batch_loss(network(batch.x), batch.y, batch.noisy, training)
        optimizer.zero_grad()
        loss.backward()
        if training.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip_gradient)
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]) or smooth_losses(losses)[-1] > DIVERGENCE_FACTOR * min(smooth_losses(losses)):
            break
    network.load_state_dict(saved_state[0])
    optimizer.load_state_dict(saved_state[1])
    finite = [loss for loss in losses if math.isfinite(loss)]
    return learning_rates[: len(finite)].tolist(), finite


def smooth_losses(losses: Sequence[float]) -> list[float]:
    """Exponential moving average, its early values freed of the bias towards zero."""
    smoothed, running = [], 0.0
    for number, loss in enumerate(losses, 1):
        running = EMA_DECAY * running + (1 - EMA_DECAY) * loss
        smoothed.append(running / (1 - EMA_DECAY**number))
    return smoothed


def suggest_learning_rates(learning_rates: Sequence[float], smoothed: Sequence[float]) -> tuple[float, float]:
    """The rate where the loss falls steepest over log rate before its minimum, and a tenth of the minimum's rate.

    The first tenth of the steps, over which little is averaged yet, does not count. Raises UserError where the loss
    falls nowhere.
    """
    first_step, min_step = max(len(learning_rates) // 10, 1), int(np.argmin(smoothed))
    if min_step <= first_step:
        raise UserError("the loss only rose: begin lower with --min_lr, or take more --steps")
    slope = np.gradient(np.asarray(smoothed), np.log(learning_rates))[first_step:min_step]
    return learning_rates[first_step + int(np.argmin(slope))], learning_rates[min_step] / 10


def plot_loss_curve(
    learning_rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    suggestions: tuple[float, float],
) -> Figure:
    """The curve, with both suggestions marked."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(learning_rates, losses, color="0.8", linewidth=1, label="loss of a batch")
    axes.plot(learning_rates, smoothed, color="C0", label="smoothed")
    for suggestion, name, colour in zip(suggestions, ("steepest", "minimum / 10"), ("C1", "C2"), strict=True):
        axes.axvline(suggestion, color=colour, linestyle="--", label=f"{name}: {suggestion:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, 1.2 * max(smoothed)))
    axes.legend()
    return figure


if __name__ == "__main__":
    run_script(main)
