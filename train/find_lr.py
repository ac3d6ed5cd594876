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
from core.device import arithmetic, pick_device
from core.entrypoint import run_script
from core.errors import BadInput, is_want_of_memory
from core.files import written_whole
from recipe.cli import read_command
from train.data.training_set import choose_folds, load_material
from train.loop.fold_job import Job
from train.loop.losses import batch_loss
from train.loop.relabel import taught
from train.loop.train_state import Learner, seed_torch, start_learner

SMOOTHING = 0.9
DIVERGED = 4.0
"""The search ends when the smoothed loss is so many times its lowest."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--fold", type=int | None, help="Fold whose clips are left out; by default the first.")
    parser.add_argument("--steps", type=int, default=100, help="Most steps of the search.")
    parser.add_argument("--lowest", type=float, default=1e-6, help="First learning rate.")
    parser.add_argument("--highest", type=float, default=10.0, help="Last learning rate.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Find a learning rate.", add_options)
    recipe, places, options = command.recipe, command.places, command.options
    if not 0 < options.lowest < options.highest or options.steps < 10:
        raise BadInput("--lowest must be above 0 and below --highest, and --steps at least 10")
    device = pick_device(options.device)
    material = load_material(recipe, places, device)
    there = material.fold_names()
    fold = choose_folds(str(there[0] if options.fold is None else options.fold), there)[0]
    material = taught(material, recipe, fold, device)
    job = Job(recipe, material, fold, recipe.training.seed, places.run_home, device)
    learner = start_learner(job, n_steps=options.steps)
    job.check_sizes(learner.network)
    try:
        rates, losses = search(job, learner, np.geomspace(options.lowest, options.highest, options.steps))
    except RuntimeError as error:
        if not is_want_of_memory(error):
            raise
        raise BadInput(job.advise_on_memory()) from None
    if not losses:
        raise BadInput(
            f"the loss was not finite at --lowest {options.lowest:g}: begin lower, or use training.precision float32"
        )
    smoothed = smooth(losses)
    steepest, tenth = suggest(rates, smoothed)
    write_table(places.run_home / "lr.csv", ["lr", "loss", "smoothed"], zip(rates, losses, smoothed, strict=True))
    picture = places.run_home / "lr.png"
    with written_whole(picture) as temporary:
        draw(rates, losses, smoothed, (steepest, tenth)).savefig(temporary, format="png", dpi=120)
    print(f"suggested training.max_lr: {steepest:.1e} (steepest), {tenth:.1e} (minimum / 10); the curve is {picture}")


def search(job: Job, learner: Learner, rates: np.ndarray) -> tuple[list[float], list[float]]:
    """Losses of steps at rising rates of the head, the other groups in proportion, until they diverge.

    Weights, running means and the optimizer's state are afterwards as they were.
    """
    training, network, optimizer = job.recipe.training, learner.network, learner.optimizer
    before = copy.deepcopy((network.state_dict(), optimizer.state_dict()))
    shares = [group["lr"] / optimizer.param_groups[-1]["lr"] for group in optimizer.param_groups]
    seed_torch(job.seed, job.fold, 1)
    network.train()
    network.freeze(training.freeze_epochs > 0)
    epochs = (job.batches(epoch) for epoch in itertools.count())
    losses: list[float] = []
    for batch, lr in zip(
        itertools.chain.from_iterable(epochs), tqdm(rates, "lr", unit="step", disable=None), strict=False
    ):
        for group, share in zip(optimizer.param_groups, shares, strict=True):
            group["lr"] = lr * share
        with arithmetic(job.device, training.precision):
            loss = batch_loss(network(batch.x), batch.y, batch.noisy, training)
        optimizer.zero_grad()
        loss.backward()
        if training.clip_gradient:
            nn.utils.clip_grad_norm_(network.parameters(), training.clip_gradient)
        optimizer.step()
        losses.append(loss.item())
        if not math.isfinite(losses[-1]) or smooth(losses)[-1] > DIVERGED * min(smooth(losses)):
            break
    network.load_state_dict(before[0])
    optimizer.load_state_dict(before[1])
    finite = [loss for loss in losses if math.isfinite(loss)]
    return rates[: len(finite)].tolist(), finite


def smooth(losses: Sequence[float]) -> list[float]:
    """Exponential moving average, its early values freed of the bias towards zero."""
    smoothed, average = [], 0.0
    for number, loss in enumerate(losses, 1):
        average = SMOOTHING * average + (1 - SMOOTHING) * loss
        smoothed.append(average / (1 - SMOOTHING**number))
    return smoothed


def suggest(rates: Sequence[float], smoothed: Sequence[float]) -> tuple[float, float]:
    """The rate where the loss falls steepest over log rate before its minimum, and a tenth of the minimum's rate.

    The first tenth of the steps, over which little is averaged yet, does not count. Raises BadInput where the loss
    falls nowhere.
    """
    begin, lowest = max(len(rates) // 10, 1), int(np.argmin(smoothed))
    if lowest <= begin:
        raise BadInput("the loss only rose: begin lower with --lowest, or take more --steps")
    slope = np.gradient(np.asarray(smoothed), np.log(rates))[begin:lowest]
    return rates[begin + int(np.argmin(slope))], rates[lowest] / 10


def draw(
    rates: Sequence[float], losses: Sequence[float], smoothed: Sequence[float], marks: tuple[float, float]
) -> Figure:
    """The curve, with both suggestions marked."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="0.8", linewidth=1, label="loss of a batch")
    axes.plot(rates, smoothed, color="C0", label="smoothed")
    for mark, name, colour in zip(marks, ("steepest", "minimum / 10"), ("C1", "C2"), strict=True):
        axes.axvline(mark, color=colour, linestyle="--", label=f"{name}: {mark:.1e}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="loss", ylim=(0, 1.2 * max(smoothed)))
    axes.legend()
    return figure


if __name__ == "__main__":
    run_script(main)
