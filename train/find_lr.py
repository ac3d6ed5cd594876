"""SCRIPT make lr: train some steps while the learning rate rises, plot the loss over it, and suggest rates."""

from core.entrypoint import run_script

import itertools
from collections.abc import Sequence

import numpy as np
import pandas as pd
from jsonargparse import ArgumentParser
from matplotlib.figure import Figure

from core.csv_tables import write_table
from core.device import pick_device
from core.errors import UserError, is_out_of_memory
from core.files import atomic_write
from core.progress import progress_bar
from recipe.cli import parse_command
from train.data.random_streams import seed_torch
from train.loop.fold_job import FoldJob
from train.loop.load_job import load_fold_job
from train.loop.train_fold import train_step
from train.loop.train_state import TrainState, create_train_state

EMA_DECAY = 0.9
DIVERGENCE_FACTOR = 4.0
"""The search ends where the smoothed loss is this many times its minimum."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--fold", type=int | None, help="Fold whose clips are left out; by default the first.")
    parser.add_argument("--steps", type=int, default=100, help="Most steps of the search.")
    parser.add_argument("--min_lr", type=float, default=1e-6, help="First learning rate.")
    parser.add_argument("--max_lr", type=float, default=10.0, help="Last learning rate.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu, cuda or cuda:1.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Find a learning rate.", add_options)
    recipe, run_paths, options = command.recipe, command.run_paths, command.options
    if not 0 < options.min_lr < options.max_lr or options.steps < 10:
        raise UserError("--min_lr must be above 0 and below --max_lr, and --steps at least 10")
    device = pick_device(options.device)
    job = load_fold_job(recipe, run_paths, device, options.fold)
    train_state = create_train_state(job, n_steps=options.steps)
    job.check_input_shapes(train_state.network)
    learning_rates = np.geomspace(options.min_lr, options.max_lr, options.steps)
    try:
        losses = run_lr_range_test(job, train_state, learning_rates)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise UserError(job.describe_memory_advice()) from None
    if not losses:
        raise UserError(
            f"the loss was not finite at --min_lr {options.min_lr:g}: begin lower, or use training.precision float32"
        )
    curve = pd.DataFrame({"lr": learning_rates[: len(losses)], "loss": losses, "smoothed": smooth_losses(losses)})
    suggestions = suggest_learning_rates(curve)
    write_table(run_paths.run_dir / "lr.csv", list(curve.columns), curve.itertuples(index=False))
    plot_path = run_paths.run_dir / "lr.png"
    with atomic_write(plot_path) as temporary:
        plot_loss_curve(curve, suggestions).savefig(temporary, format="png", dpi=120)
    described = ", ".join(f"{rate:.1e} ({name})" for name, rate in suggestions.items())
    print(f"suggested training.max_lr: {described}; the curve is {plot_path}")


def run_lr_range_test(job: FoldJob, train_state: TrainState, learning_rates: np.ndarray) -> list[float]:
    """Losses of steps at rising rates of the head, the other groups in proportion, as long as they are finite and do
    not diverge.
    """
    training, network, optimizer = job.recipe.training, train_state.network, train_state.optimizer
    lr_ratios = [group["lr"] / optimizer.param_groups[-1]["lr"] for group in optimizer.param_groups]
    seed_torch("dropout", job.seed, job.fold, 0)
    network.train()
    network.freeze(*(n_epochs > 0 for n_epochs in training.trunk_freeze_epochs), batch_norm=training.freeze_batch_norm)
    batches = itertools.chain.from_iterable(job.batches(epoch) for epoch in itertools.count())
    losses: list[float] = []
    with progress_bar(len(learning_rates), "lr", "step") as bar:
        for batch, lr in zip(batches, learning_rates, strict=False):
            for group, lr_ratio in zip(optimizer.param_groups, lr_ratios, strict=True):
                group["lr"] = lr * lr_ratio
            loss = train_step(train_state, network, batch, training)
            bar.update()
            if not loss.isfinite():
                break
            losses.append(loss.item())
            smoothed = smooth_losses(losses)
            if smoothed.iloc[-1] > DIVERGENCE_FACTOR * smoothed.min():
                break
    return losses


def smooth_losses(losses: Sequence[float]) -> pd.Series:
    """Exponential moving average without bias towards zero."""
    return pd.Series(losses).ewm(alpha=1 - EMA_DECAY).mean()


def suggest_learning_rates(curve: pd.DataFrame) -> dict[str, float]:
    """The rate where the loss falls steepest over log rate before its minimum, and a tenth of the minimum's rate.

    The first tenth of the steps, over which little is averaged yet, does not count. Raises UserError where the loss
    only rises.
    """
    first_step, min_step = max(len(curve) // 10, 1), int(curve["smoothed"].argmin())
    if min_step <= first_step:
        raise UserError("the loss only rose: begin lower with --min_lr, or take more --steps")
    slope = np.gradient(curve["smoothed"], np.log(curve["lr"]))[first_step:min_step]
    rates = curve["lr"].tolist()
    return {"steepest": rates[first_step + int(slope.argmin())], "minimum / 10": rates[min_step] / 10}


def plot_loss_curve(curve: pd.DataFrame, suggestions: dict[str, float]) -> Figure:
    """The curve, with the suggestions marked."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(curve["lr"], curve["loss"], color="0.8", linewidth=1, label="loss of a batch")
    axes.plot(curve["lr"], curve["smoothed"], color="C0", label="smoothed")
    for (name, rate), color in zip(suggestions.items(), ("C1", "C2"), strict=True):
        axes.axvline(rate, color=color, linestyle="--", label=f"{name}: {rate:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, 1.2 * curve["smoothed"].max()))
    axes.legend()
    return figure


if __name__ == "__main__":
    run_script(main)
