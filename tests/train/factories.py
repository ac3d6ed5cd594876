"""A small data set as `make features` would leave it (learnable frames, folds, noisy clips), and training on it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from preprocess.dataset.clip_table import write_clip_table
from preprocess.dataset.labels import write_vocabulary
from preprocess.store.schema import FrameEncoding
from preprocess.store.writer import write_store
from recipe import Features
from tests.forked_python import ForkedPython
from tests.row_sources import row_source_of
from train.fit import main

ROOT = Path(__file__).parent.parent.parent
LABELS = ("hum", "low, deep", "高い")
N_BINS = 8
FRAMES_PER_SECOND = 10.0
OPTIONS = (
    f"--features.n_bins {N_BINS} --training.batch_size 4 --training.crop_seconds 1.6 --training.epochs 3 "
    "--prediction.window_seconds 1.6 --prediction.hop_seconds 0.8 --device cpu"
).split()


def write_training_dataset(
    cache: Path,
    n_clips: int = 18,
    folds: int = 3,
    noisy: int = 0,
    labels: Sequence[str] = LABELS,
    seed: int = 0,
    name: str = "clip",
) -> None:
    """cache/recipe/{clips.csv, labels.csv, features.h5}: clip n has label n % len(labels), whose bins are louder.

    The last `noisy` clips are noisy. Clips have 10 to 40 frames, some of them fewer than a crop of 1.6 s.
    """
    random, dataset_dir = np.random.default_rng(seed), cache / "recipe"
    rows, row_sources = [], []
    for number in range(n_clips):
        label = number % len(labels)
        frames = random.normal(-60, 8, (int(random.integers(10, 40)), N_BINS))
        frames[:, 2 * label : 2 * label + 2] += 25
        stored, clip = frames.astype(np.float16), f"{name} {number}.wav"
        row_sources.append(row_source_of(stored, dataset_dir, clip, duration_s=len(stored) / FRAMES_PER_SECOND))
        label_quality = "noisy" if number >= n_clips - noisy else "curated"
        rows.append(
            (clip, f"/sound/{clip}", labels[label], number // len(labels) % folds, "train", clip, label_quality)
        )
    columns = ["clip", "path", "labels", "fold", "split", "group", "label_quality"]
    digests = {each.row.clip: each.row.digest for each in row_sources}
    write_clip_table(dataset_dir / "clips.csv", pd.DataFrame(rows, columns=columns), digests)
    write_vocabulary(dataset_dir / "labels.csv", labels)
    write_store(
        dataset_dir / "features.h5",
        Features(n_bins=N_BINS),
        FrameEncoding(np.dtype("float16"), N_BINS, FRAMES_PER_SECOND),
        row_sources,
    )


def fit(cache: Path, *more: str) -> None:
    """make train."""
    main([*OPTIONS, "--cache", str(cache), *more])


def get_run_dir(cache: Path) -> Path:
    """The folder of the run."""
    return cache / "recipe" / "runs" / "recipe"


def files_of(folder: Path) -> dict[Path, bytes]:
    """All files below a folder, with what is in them."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_same(one: Any, other: Any) -> None:
    """Nested lists and dictionaries hold the same numbers, bit for bit."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        for mine, theirs in zip(one, other, strict=True):
            assert_same(mine, theirs)
    elif isinstance(one, Tensor):
        assert torch.equal(one, other)
    else:
        assert one == other


def start_training(cache: Path, *more: str) -> subprocess.Popen[str]:
    """The command as a process of its own."""
    command = [sys.executable, "-m", "train.fit", *OPTIONS, "--cache", str(cache), *more]
    environment = os.environ | {"PYTHONWARNINGS": "error"}
    return ForkedPython(command, cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    for _ in range(3000):
        if condition():
            return
        assert process.poll() is None, process.communicate()
        time.sleep(0.02)
    raise AssertionError("nothing happened in a minute")
