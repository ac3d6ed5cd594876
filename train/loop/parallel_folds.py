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
from core.errors import BadInput
from core.paths import Places
from core.resources import available_bytes
from core.sigint import starting_deaf
from recipe import Recipe
from train.data.frame_bank import HOST_SHARE
from train.data.training_set import load_material
from train.loop.fold_job import Job


@dataclass(frozen=True)
class Parcel:
    """What a process needs to know of its network; it reads the frames itself."""

    recipe: Recipe
    places: Places
    targets: np.ndarray
    kept: np.ndarray
    """Of the job's material, as a teacher may have left them."""
    fold: int
    seed: int
    home: Path
    n_threads: int


def count_at_once(n_jobs: int, jobs: Sequence[Job]) -> int:
    """How many networks to train at once: one on a GPU; on a CPU up to `n_jobs`, where memory has room for them."""
    if jobs[0].device.type != "cpu":
        return 1
    n_bytes = max(1, jobs[0].material.memory.frames.nbytes)
    room = int(HOST_SHARE * available_bytes() // n_bytes)
    return max(1, min(n_jobs, len(jobs), room))


def share_threads(n_networks: int, n_at_once: int, n_threads: int) -> list[int]:
    """Threads of each network: an equal share, and more for the last ones, which have fewer beside them.

    They depend on nothing else, so that the same command with memory for as many gives the same networks.
    """
    n_last = n_networks % n_at_once
    shares = [max(1, n_threads // n_at_once)] * (n_networks - n_last)
    return shares + [max(1, n_threads // n_last)] * n_last if n_last else shares


def train_at_once(work: Callable[[Job], None], jobs: Sequence[Job], places: Places, n_at_once: int) -> None:
    """Have `work` train each job's network, `n_at_once` at a time. Raises the first BadInput of any."""
    shares = share_threads(len(jobs), n_at_once, torch.get_num_threads())
    parcels = [_pack(job, places, share) for job, share in zip(jobs, shares, strict=True)]
    spawning = get_context("spawn")
    pool = ProcessPoolExecutor(n_at_once, spawning)
    try:
        with starting_deaf():
            networks = [pool.submit(_train, work, parcel) for parcel in parcels]
        for trained in as_completed(networks):
            trained.result()
    except BrokenProcessPool:
        raise BadInput(
            "a training process was killed, perhaps for want of memory: go on with --resume --jobs 1"
        ) from None
    except BaseException:
        for child in active_children():
            if isinstance(child, spawning.Process):  # joblib's idle workers are listed too, and not ours to end
                child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _pack(job: Job, places: Places, n_threads: int) -> Parcel:
    material = job.material
    return Parcel(job.recipe, places, material.targets.numpy(), material.kept, job.fold, job.seed, job.home, n_threads)


def _train(work: Callable[[Job], None], parcel: Parcel) -> None:
    """In a process of its own: read the frames, and train."""
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    os.environ["OMP_NUM_THREADS"] = str(parcel.n_threads)
    torch.set_num_threads(parcel.n_threads)
    device = pick_device("cpu")
    material = load_material(parcel.recipe, parcel.places, device, quiet=True)
    material = replace(material, targets=torch.from_numpy(parcel.targets), kept=parcel.kept, untaught=material)
    work(Job(parcel.recipe, material, parcel.fold, parcel.seed, parcel.home, device))


def _end_with(parent: int) -> None:
    """End this process when its parent is killed: a resumed run must not meet it at its checkpoints."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
