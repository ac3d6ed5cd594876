"""SCRIPT  Folds side by side against one after the other: make train JOBS=n on a CPU, as ratios of one run.

    python -m benchmarks.at_once

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

from benchmarks.machine import describe_machine
from benchmarks.random_store import write_random_store
from benchmarks.settings import ROOT
from core.paths import Places
from core.resources import usable_cores
from preprocess.dataset.clip_table import COLUMNS, write_clips
from preprocess.dataset.labels import write_vocabulary
from recipe import Features

FEATURES = Features(n_fft=2048, hop_samples=690, n_bins=64)
KEYS = (
    "--features.n_fft 2048 --features.hop_samples 690 --features.n_bins 64 --training.batch_size 8 "
    "--training.crop_seconds 5 --prediction.window_seconds 5 --prediction.hop_seconds 2 --training.metric last"
)
LABELS = ("one", "two")


def write_study(cache: Path, n_clips: int, n_folds: int) -> None:
    """A random store and its tables, as make features leaves them."""
    places = Places(cache, cache, "recipe", "recipe")
    places.home.mkdir(parents=True)
    names = write_random_store(places.store, FEATURES, n_clips)
    rows = [(clip, clip, LABELS[n % 2], n % n_folds, "train", clip, "curated") for n, clip in enumerate(names)]
    write_clips(places.clips_csv, pd.DataFrame(rows, columns=COLUMNS))
    write_vocabulary(places.labels_csv, LABELS)


def train(cache: Path, n_jobs: int, epochs: int) -> float:
    """Seconds of the command."""
    places = ["--cache", str(cache), "--device", "cpu", "--jobs", str(n_jobs)]
    command = [sys.executable, "-m", "train.fit", *places, "--training.epochs", str(epochs), *KEYS.split()]
    began = time.perf_counter()
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def main() -> None:
    """Train all folds with one job and with several, in turns."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folds", type=int, default=4)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--jobs", type=int, default=usable_cores())
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    print(f"{describe_machine(torch.device('cpu'))}; {options.folds} folds of {options.epochs} epochs")
    with TemporaryDirectory() as folder:
        cache = Path(folder)
        write_study(cache, 320, options.folds)
        jobs = (1, options.jobs)
        turns = [[train(cache, n_jobs, options.epochs) for n_jobs in jobs] for _ in range(options.rounds)]
    one, several = map(min, zip(*turns, strict=True))
    print(f"one after the other {one:.1f} s, {options.jobs} at once {several:.1f} s: {one / several:.2f} times as fast")


if __name__ == "__main__":
    main()
