r"""SCRIPT Speed of training beside that of the same network on one constant batch, and beside a DataLoader's.

    python -m benchmarks.training
    python -m benchmarks.training --device cuda --clips 4970 --network.name resnet18 \
        --training.batch_size 128 --training.crop_seconds 4.006

Frames are random, in a temporary store; crops are augmented as the winner of FSDKaggle2019 did. A step is forward,
loss, backward, clipping and optimizer. Contenders take turns, and the medians of their rounds are printed.
"""

from core.entrypoint import run_script

import itertools
import statistics
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.dataloader import CropDataset, loader_batches
from benchmarks.machine import describe_machine, matmul_flops_per_s
from benchmarks.random_store import write_random_store
from core.device import autocast_dtype, pick_device
from core.resources import available_cores
from recipe import Recipe
from recipe.cli import parse_command
from train.data.batches import Batch
from train.data.frame_bank import FrameBank, load_frame_bank
from train.data.training_set import TrainingSet
from train.loop.fold_job import FoldJob
from train.loop.train_fold import train_step
from train.loop.train_state import create_train_state

BatchSource = Callable[[], Generator[Batch, None, None]]
"""Begins batches without end."""

# The winner's: 80 % mixed (of which 60 % faded in time), SpecAugment on half, a third resized.
AUGMENTATIONS: dict[str, Any] = {
    "resized_crop_probability": 0.33,
    "mixup_probability": 0.32,
    "crossfade_probability": 0.48,
    "time_mask_probability": 0.5,
    "frequency_mask_probability": 0.5,
}
N_LABELS = 80
EPOCH_CLIPS = 4970  # the curated clips of FSDKaggle2019
N_WARMUP_STEPS = 3
CONSTANT_BATCH, ON_DEVICE = "one constant batch", "frames on the device"
MEMORY_BUDGETS: dict[str, dict[str, int]] = {
    ON_DEVICE: {},
    "frames in host memory": {"device_bytes": 0},
    "frames in the file": {"device_bytes": 0, "host_bytes": 0},
}


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--clips", type=int, default=400, help="Clips in the store, of 0.5 to 10 seconds.")
    parser.add_argument("--seconds", type=float, default=6.0, help="About how long a contender's turn takes.")
    parser.add_argument("--rounds", type=int, default=3, help="Turns of each.")
    parser.add_argument("--workers", type=int, default=available_cores(), help="Processes of the DataLoader.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Speed of training beside a constant batch and a DataLoader.", add_options)
    options, device = command.options, pick_device(command.options.device)
    recipe = replace(command.recipe, training=replace(command.recipe.training, **AUGMENTATIONS))
    with TemporaryDirectory() as folder:
        path = Path(folder) / "features.h5"
        names = write_random_store(path, recipe.features, options.clips)
        # To a CPU its own memory is the host's.
        budgets = {name: budget for name, budget in MEMORY_BUDGETS.items() if device.type == "cuda" or len(budget) != 1}
        jobs = {
            name: make_job(load_frame_bank(path, recipe.features, names, device, **budget), recipe, device)  # type: ignore[arg-type]
            for name, budget in budgets.items()
        }
        bench = Bench(jobs[ON_DEVICE])
        print(f"{describe_machine(device)}\n{bench.describe()}")
        contenders = {CONSTANT_BATCH: bench.constant_batch} | {name: train_batches(job) for name, job in jobs.items()}
        contenders[f"DataLoader, {options.workers} workers"] = dataloader_batches(jobs[ON_DEVICE], options.workers)
        print_rates(bench, bench.measure_rates(contenders, options.seconds, options.rounds))


class Bench:
    """A network that takes steps on whatever batches it is fed."""

    def __init__(self, job: FoldJob) -> None:
        self.training, self.device = job.recipe.training, job.device
        # One-cycle refuses steps past its last.
        self.train_state = create_train_state(job, n_steps=10**7)
        self.network = self.train_state.network.train()
        self.compiled_network = torch.compile(self.network) if self.training.compile else self.network
        self.batch = next(iter(job.batches(0)))
        self.name = job.recipe.network.name

    def describe(self) -> str:
        batch, n_frames, n_bins = self.batch.x.shape
        precision = autocast_dtype(self.device, self.training.precision)
        return f"{self.name}, batch {batch} of {n_frames} frames x {n_bins} bins, {precision}"

    def constant_batch(self) -> Generator[Batch, None, None]:
        while True:
            yield self.batch

    def step(self, batch: Batch) -> Tensor:
        """The loss, on the device."""
        loss = train_step(self.train_state, self.compiled_network, batch, self.training)  # type: ignore[arg-type]
        self.train_state.schedule.step()
        return loss

    def steps_per_s(self, batches: Iterator[Batch], n_steps: int) -> float:
        """Optimizer steps a second over `n_steps`, after a few to warm up."""
        started = 0.0
        for count, batch in enumerate(itertools.islice(batches, N_WARMUP_STEPS + n_steps)):
            if count == N_WARMUP_STEPS:
                self.wait()
                started = time.perf_counter()
            self.step(batch)
        self.wait()
        return n_steps / (time.perf_counter() - started)

    def wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def measure_rates(self, contenders: dict[str, BatchSource], seconds: float, rounds: int) -> dict[str, list[float]]:
        """Steps a second of every contender, a number for each round."""
        n_steps = max(round(seconds * self.steps_per_s(self.constant_batch(), N_WARMUP_STEPS)), 2)
        rates: dict[str, list[float]] = {name: [] for name in contenders}
        for turn, (name, batch_source) in itertools.product(range(rounds), contenders.items()):
            with closing(batch_source()) as batches:
                rates[name].append(self.steps_per_s(batches, n_steps))
            print(f"round {turn + 1}: {name}: {rates[name][-1]:.3f} steps/s", file=sys.stderr)
        return rates

    def flops(self) -> int:
        """Floating-point operations of a step, forward and backward."""
        with FlopCounterMode(display=False) as counter:
            train_step(self.train_state, self.network, self.batch, self.training)
        return counter.get_total_flops()


def make_job(frame_bank: FrameBank, recipe: Recipe, device: torch.device) -> FoldJob:
    """Fold 0 of clips that are all in fold 1, each with one random label."""
    n_clips, random = len(frame_bank.clips), np.random.default_rng(1)
    targets = torch.from_numpy(np.eye(N_LABELS, dtype=np.float32)[random.integers(N_LABELS, size=n_clips)])
    training_set = TrainingSet(
        frame_bank=frame_bank,
        labels=[str(label) for label in range(N_LABELS)],
        targets=targets,
        folds=np.ones(n_clips, np.int64),
        noisy=torch.zeros(n_clips, dtype=torch.bool),
        unlabelled=np.zeros(n_clips, bool),
        kept=np.ones(n_clips, bool),
    )
    return FoldJob(recipe, training_set, fold=0, seed=0, output_dir=Path(), device=device)


def train_batches(job: FoldJob) -> BatchSource:
    """Epochs as in make train, one after the other."""

    def batch_source() -> Generator[Batch, None, None]:
        for epoch in itertools.cycle(range(job.recipe.training.epochs)):
            yield from job.batches(epoch)

    return batch_source


def dataloader_batches(job: FoldJob, n_workers: int) -> BatchSource:
    """The DataLoader over the same clips."""
    frame_bank = job.training_set.frame_bank
    clips = [frames.cpu().numpy() for frames in frame_bank.frames.split(frame_bank.lengths.tolist())]
    dataset = CropDataset(clips, job.training_set.targets.numpy(), job.crop_shape(0)[0], job.recipe.training)
    return partial(loader_batches, dataset, frame_bank.device, n_workers)


def print_rates(bench: Bench, rates: dict[str, list[float]]) -> None:
    """A line a contender, then what the device does with it."""
    medians = {name: statistics.median(some) for name, some in rates.items()}
    print(f"{'':24} {'steps/s':>9} {'clips/s':>9} {'of constant':>12} {'over rounds':>16}")
    for name, rate in medians.items():
        # Of the same round: a machine's speed drifts.
        ratios = [one / other for one, other in zip(rates[name], rates[CONSTANT_BATCH], strict=True)]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        clips_per_s, ratio = rate * bench.training.batch_size, statistics.median(ratios)
        print(f"{name:24} {rate:9.3f} {clips_per_s:9.1f} {ratio:12.3f} {spread:>16}")
    loader = list(medians)[-1]
    print(f"frames on the device beside the DataLoader: {medians[ON_DEVICE] / medians[loader]:.2f} times the steps")
    print(f"an epoch of {EPOCH_CLIPS} clips: {EPOCH_CLIPS / bench.training.batch_size / medians[ON_DEVICE]:.1f} s")
    achieved, peak = bench.flops() * medians[ON_DEVICE], matmul_flops_per_s(bench.device, bench.training.precision)
    print(f"{achieved / 1e12:.3g} TFLOP/s of {peak / 1e12:.3g} in matrix products: {achieved / peak:.1%}")


if __name__ == "__main__":
    run_script(main)
