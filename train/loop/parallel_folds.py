"""Networks trained side by side in sandboxes: two of one thread each are faster than one of two threads."""

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, replace
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch

from core.cluster import is_wanted
from core.device import DevicePool, pick_device
from core.errors import UserError
from core.file_lock import file_lock
from core.parallel import run_parallel
from core.paths import RunPaths
from core.progress import progress_bar
from core.resources import available_cores
from core.sandbox import SandboxError, SandboxLimits, borrow_sandbox
from recipe import Recipe
from train.data.training_set import load_training_set
from train.loop.fold_job import FoldJob
from train.loop.train_fold import train_fold

END_TIMEOUT_S = 60.0
"""How long a network waits for a lost worker to end, which may still train it."""


@dataclass(frozen=True)
class TrainingTask:
    """A FoldJob without the frames, which each process reads."""

    recipe: Recipe
    run_paths: RunPaths
    targets: np.ndarray
    kept: np.ndarray
    """Of the job's training set, after relabelling."""
    fold: int
    seed: int
    output_dir: Path
    settings: dict[str, bool]
    """Of train_fold."""
    n_threads: int
    """0 on a cluster: OMP_NUM_THREADS of the worker, or its cores."""
    device: str
    position: int
    """Of the progress bar."""


def threads_per_job(n_networks: int, n_parallel: int, n_threads: int) -> list[int]:
    """Threads of each network: an equal share, and more for the last ones where fewer are left to train.

    They depend on nothing else, so the same command gives the same networks.
    """
    n_last = n_networks % n_parallel
    thread_counts = [max(1, n_threads // n_parallel)] * (n_networks - n_last)
    return thread_counts + [max(1, n_threads // n_last)] * n_last if n_last else thread_counts


def train_in_parallel(
    jobs: Sequence[FoldJob],
    run_paths: RunPaths,
    devices: Sequence[str],
    scheduler: str | None,
    settings: dict[str, bool],
) -> None:
    """Train each job's network, on each of `devices` one at a time, or in each worker of a cluster on the first.

    Raises the first UserError.
    """
    n_parallel = len(devices)
    pool = DevicePool(devices, n_parallel)

    def train_on_free_device(task: TrainingTask) -> str:
        with pool.take() as device:
            return train_isolated(replace(task, device=device))

    thread_counts = threads_per_job(len(jobs), n_parallel, torch.get_num_threads())
    tasks = [
        TrainingTask(
            recipe=job.recipe,
            run_paths=replace(run_paths, cache=run_paths.cache.absolute()),
            targets=job.training_set.targets.numpy(),
            kept=job.training_set.kept,
            fold=job.fold,
            seed=job.seed,
            output_dir=job.output_dir.absolute(),
            settings=settings,
            n_threads=0 if scheduler else n_threads,
            device=devices[0],
            position=number % n_parallel,
        )
        for number, (job, n_threads) in enumerate(zip(jobs, thread_counts, strict=True))
    ]
    train = train_isolated if scheduler else train_on_free_device
    try:
        with closing(run_parallel(train, tasks, n_parallel, scheduler)) as results:
            for name in results:
                if scheduler:
                    print(f"{name} is trained", flush=True)
    except SandboxError as error:
        advice = "run the same command again" if scheduler else "go on with --jobs 1"
        raise UserError(f"a training process died: {error}; {advice}") from None


def train_isolated(task: TrainingTask) -> str:
    """Train a task's network in a sandbox, and show its epochs; the name of its folder.

    Where the command that asked for it was killed, the training stops after an epoch.
    """
    n_threads = task.n_threads or int(os.environ.get("OMP_NUM_THREADS") or available_cores())
    limits = SandboxLimits(n_threads=n_threads, quiet=False)
    with borrow_sandbox(limits) as sandbox, closing(sandbox.run(run_task, task, stall_timeout_s=math.inf)) as rows:
        wanted_rows = takewhile(lambda _: is_wanted(), rows)
        show_epochs(task.output_dir.name, task.recipe, wanted_rows, task.position)
    return task.output_dir.name


def show_epochs(
    name: str, recipe: Recipe, rows: Iterable[dict[str, float]], position: int = 0, *, is_shown: bool = True
) -> None:
    """Train the epochs that train_fold yields as `rows`, and show a progress bar of them if `is_shown`."""
    with progress_bar(recipe.training.epochs, name, "epoch", position=position, disable=not is_shown) as bar:
        lwlrap = ""
        for row in rows:
            if "lwlrap" in row:
                lwlrap = f", lwlrap {row['lwlrap']:.3f}"
            if "train_loss" in row:
                bar.set_postfix_str(f"loss {row['train_loss']:.3f}{lwlrap}", refresh=False)
            bar.update(int(row["epoch"]) - bar.n)


def run_task(task: TrainingTask) -> Iterator[dict[str, float]]:
    """Train a task's network in this process."""
    device = pick_device(task.device)
    if device.type == "cuda":
        torch.cuda.empty_cache()  # on the device of this process's task before
    if task.n_threads:
        torch.set_num_threads(task.n_threads)
    before = load_training_set(task.recipe, task.run_paths, device, quiet=True, shared=True)
    targets = torch.from_numpy(task.targets)
    training_set = replace(before, targets=targets, kept=task.kept, before_relabelling=before)
    job = FoldJob(task.recipe, training_set, task.fold, task.seed, task.output_dir, device)
    name = task.output_dir.name
    lock_path = task.output_dir.with_name(f".{name}.lock")
    lock = nullcontext() if task.n_threads else file_lock(lock_path, f"training of {name}", END_TIMEOUT_S)
    with lock:
        yield from train_fold(job, **task.settings)
