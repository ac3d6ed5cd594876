"""Networks trained side by side, each in a process: on a CPU, two of one thread are faster than each in turn of two."""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from core.device import pick_device
from core.errors import UserError
from core.parallel import run_parallel
from core.paths import RunPaths
from core.progress import progress_bar
from core.resources import available_cores
from core.sandbox import SandboxError, SandboxLimits, borrow_sandbox
from recipe import Recipe
from train.data.training_set import load_training_set
from train.loop.fold_job import FoldJob
from train.loop.train_fold import train_fold


@dataclass(frozen=True)
class TrainingTask:
    """What a process needs to know of its network; it maps the frames itself."""

    recipe: Recipe
    run_paths: RunPaths
    targets: np.ndarray
    kept: np.ndarray
    """Of the job's training set, as a teacher may have left them."""
    fold: int
    seed: int
    output_dir: Path
    n_threads: int
    resume: bool
    tensorboard: bool
    device: str
    position: int
    """Of its progress bar."""


def threads_per_job(n_networks: int, n_parallel: int, n_threads: int) -> list[int]:
    """Threads of each network: an equal share, and more for the last ones, which have fewer beside them.

    They depend on nothing else, so that the same command gives the same networks.
    """
    n_last = n_networks % n_parallel
    thread_counts = [max(1, n_threads // n_parallel)] * (n_networks - n_last)
    return thread_counts + [max(1, n_threads // n_last)] * n_last if n_last else thread_counts


def train_in_parallel(
    jobs: Sequence[FoldJob],
    run_paths: RunPaths,
    n_parallel: int,
    *,
    resume: bool,
    tensorboard: bool,
    scheduler: str | None,
) -> None:
    """Train each job's network, `n_parallel` at a time here, or a network a worker of a cluster.

    Raises the first UserError of any.
    """
    thread_counts = threads_per_job(len(jobs), n_parallel, torch.get_num_threads())
    tasks = [
        TrainingTask(
            recipe=job.recipe,
            run_paths=run_paths.absolute() if scheduler else run_paths,
            targets=job.training_set.targets.numpy(),
            kept=job.training_set.kept,
            fold=job.fold,
            seed=job.seed,
            output_dir=job.output_dir.absolute(),
            n_threads=0 if scheduler else n_threads,
            resume=resume,
            tensorboard=tensorboard,
            device="auto" if scheduler else "cpu",
            position=number % n_parallel,
        )
        for number, (job, n_threads) in enumerate(zip(jobs, thread_counts, strict=True))
    ]
    try:
        with closing(run_parallel(train_isolated, tasks, n_parallel, scheduler)) as results:
            for name in results:
                if scheduler:
                    print(f"{name} is trained", flush=True)
    except SandboxError as error:
        raise UserError(f"a training process died: {error}; go on with --resume --jobs 1") from None


def train_isolated(task: TrainingTask) -> str:
    """Train the network of a task in a sandbox, and show how far it is; the name of its folder."""
    n_threads = task.n_threads or available_cores()
    with borrow_sandbox(SandboxLimits(n_threads=n_threads, quiet=False)) as sandbox:
        show_epochs(
            task.output_dir.name, task.recipe, sandbox.run(run_task, task, stall_timeout_s=math.inf), task.position
        )
    return task.output_dir.name


def show_epochs(name: str, recipe: Recipe, rows: Iterable[dict[str, float]], position: int = 0) -> None:
    """Train a network, whose epochs are `rows`, and show how far it is."""
    with progress_bar(recipe.training.epochs, name, "epoch", position=position) as bar:
        for row in rows:
            if "train_loss" in row:
                bar.set_postfix_str(f"loss {row['train_loss']:.3f}, lwlrap {row['lwlrap']:.3f}", refresh=False)
            bar.update(int(row["epoch"]) - bar.n)


def run_task(task: TrainingTask) -> Iterator[dict[str, float]]:
    """Train the network of a task, in a process of its own."""
    device = pick_device(task.device)
    if task.n_threads:
        torch.set_num_threads(task.n_threads)
    shared = device.type == "cpu"
    training_set = load_training_set(task.recipe, task.run_paths, device, quiet=True, shared=shared)
    training_set = replace(
        training_set, targets=torch.from_numpy(task.targets), kept=task.kept, before_relabelling=training_set
    )
    job = FoldJob(task.recipe, training_set, task.fold, task.seed, task.output_dir, device)
    yield from train_fold(job, resume=task.resume, tensorboard=task.tensorboard)
