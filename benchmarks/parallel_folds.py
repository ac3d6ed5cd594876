"""SCRIPT  Folds side by side against one after the other: make train JOBS=n on a CPU, as ratios of one run.

    python -m benchmarks.parallel_folds

Random frames of 320 clips of 5 s, as many networks as folds; start-up, validation and the final scores are counted.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import torch

from benchmarks.config import ROOT
from benchmarks.machine import describe_machine
from benchmarks.random_store import write_random_store
from core.paths import RunPaths
from core.resources import available_cores
from preprocess.dataset.clip_table import COLUMNS, write_clip_table
from preprocess.dataset.labels import write_vocabulary
from preprocess.store.reader import open_store
from recipe import Features

FEATURES = Features(n_fft=2048, hop_length=690, n_bins=64)
KEYS = (
    "--features.n_fft 2048 --features.hop_length 690 --features.n_bins 64 --training.batch_size 8 "
    "--training.crop_seconds 5 --prediction.window_seconds 5 --prediction.hop_seconds 2 --training.metric last"
)
LABELS = ("one", "two")


def write_random_dataset(cache: Path, n_clips: int, n_folds: int) -> None:
    """A random store and its tables, as make features leaves them."""
    run_paths = RunPaths(cache, cache, "recipe", "recipe")
    run_paths.dataset_dir.mkdir(parents=True)
    names = write_random_store(run_paths.store, FEATURES, n_clips)
    rows = [(clip, clip, LABELS[n % 2], n % n_folds, "train", clip, "curated") for n, clip in enumerate(names)]
    with open_store(run_paths.store) as store:
        write_clip_table(run_paths.clips_csv, pd.DataFrame(rows, columns=COLUMNS), store.frames_digests())
    write_vocabulary(run_paths.labels_csv, LABELS)


def train(cache: Path, n_jobs: int, epochs: int) -> float:
    """Seconds of the command."""
    path_options = ["--cache", str(cache), "--device", "cpu", "--jobs", str(n_jobs)]
    command = [sys.executable, "-m", "train.fit", *path_options, "--training.epochs", str(epochs), *KEYS.split()]
    started = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def main() -> None:
    """Train all folds with one job and with several, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=available_cores())
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    print(f"{describe_machine(torch.device('cpu'))}; {options.folds} folds of {options.epochs} epochs")
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        write_random_dataset(cache, 320, options.folds)
        jobs = (1, options.jobs)
        rounds = [[train(cache, n_jobs, options.epochs) for n_jobs in jobs] for _ in range(options.rounds)]
    one, several = map(min, zip(*rounds, strict=True))
    ratio = one / several
    print(f"one after the other {one:.1f} s, {options.jobs} in parallel {several:.1f} s: {ratio:.2f} times as fast")


if __name__ == "__main__":
    main()
