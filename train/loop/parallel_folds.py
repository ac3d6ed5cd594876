"""Several networks at once, a process each: on a CPU, two of one thread learn faster than each in turn of two."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import active_children, get_context
from pathlib import Path

import numpy as np
import torch

from core.device import pick_device
from core.errors import UserError
from core.paths import RunPaths
from core.resources import available_bytes
from core.sigint import ignore_sigint
from recipe import Recipe
from train.data.frame_bank import HOST_MEMORY_FRACTION
from train.data.training_set import load_training_set
from train.loop.fold_job import FoldJob


@dataclass(frozen=True)
class WorkerTask:
    """What a process needs to know of its network; it reads the frames itself."""

    recipe: Recipe
    run_paths: RunPaths
    targets: np.ndarray
    kept: np.ndarray
    """Of the job's training set, as a teacher may have left them."""
    fold: int
    seed: int
    output_dir: Path
    n_threads: int


def count_parallel_jobs(n_jobs: int, jobs: Sequence[FoldJob]) -> int:
    """How many networks to train at once: one on a GPU; on a CPU up to `n_jobs`, where memory has room for them."""
    if jobs[0].device.type != "cpu":
        return 1
    n_bytes = max(1, jobs[0].training_set.frame_bank.frames.nbytes)
    n_fitting = int(HOST_MEMORY_FRACTION * available_bytes() // n_bytes)
    return max(1, min(n_jobs, len(jobs), n_fitting))


def threads_per_job(n_networks: int, n_parallel: int, n_threads: int) -> list[int]:
    """Threads of each network: an equal share, and more for the last ones, which have fewer beside them.

    They depend on nothing else, so that the same command with memory for as many gives the same networks.
    """
    n_last = n_networks % n_parallel
    thread_counts = [max(1, n_threads // n_parallel)] * (n_networks - n_last)
    return thread_counts + [max(1, n_threads // n_last)] * n_last if n_last else thread_counts


def train_in_parallel(
    work: Callable[[FoldJob], None], jobs: Sequence[FoldJob], run_paths: RunPaths, n_parallel: int
) -> None:
    """Have `work` train each job's network, `n_parallel` at a time. Raises the first UserError of any."""
    thread_counts = threads_per_job(len(jobs), n_parallel, torch.get_num_threads())
    tasks = [_make_task(job, run_paths, n_threads) for job, n_threads in zip(jobs, thread_counts, strict=True)]
    spawn_context = get_context("spawn")
    pool = ProcessPoolExecutor(n_parallel, spawn_context)
    try:
        with ignore_sigint():
            futures = [pool.submit(_run_task, work, task) for task in tasks]
        for future in as_completed(futures):
            future.result()
    except BrokenProcessPool:
        raise UserError(
            "a training process was killed, perhaps for want of memory: go on with --resume --jobs 1"
        ) from None
    except BaseException:
        for child in active_children():
            if isinstance(child, spawn_context.Process):  # joblib's idle workers are listed too, and not ours to end
                child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _make_task(job: FoldJob, run_paths: RunPaths, n_threads: int) -> WorkerTask:
    training_set = job.training_set
    return WorkerTask(
        job.recipe,
        run_paths,
        training_set.targets.numpy(),
        training_set.kept,
        job.fold,
        job.seed,
        job.output_dir,
        n_threads,
    )


def _run_task(work: Callable[[FoldJob], None], task: WorkerTask) -> None:
    """In a process of its own: read the frames, and train."""
    threading.Thread(target=_exit_with_parent, args=(os.getppid(),), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(task.n_threads)
    torch.set_num_threads(task.n_threads)
    device = pick_device("cpu")
    training_set = load_training_set(task.recipe, task.run_paths, device, quiet=True)
    training_set = replace(
        training_set, targets=torch.from_numpy(task.targets), kept=task.kept, before_relabelling=training_set
    )
    work(FoldJob(task.recipe, training_set, task.fold, task.seed, task.output_dir, device))


def _exit_with_parent(parent: int) -> None:
    """End this process when its parent is killed: a resumed run must not meet it at its checkpoints."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
