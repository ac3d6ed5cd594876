"""Runs of make features on a small set, and what they leave."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from preprocess import features as script

ROOT = Path(__file__).parent.parent.parent
QUICK = [
    "--features.rate_hz",
    "16000",
    "--features.n_fft",
    "512",
    "--features.hop_samples",
    "160",
    "--features.n_bins",
    "32",
]


def arguments(folder: Path, home: str = "made", *more: str) -> list[str]:
    where = ["--data.folder", str(folder), "--cache", str(folder.parent / "cache"), "--name", home, "--data.folds", "2"]
    return [*where, *QUICK, "--jobs", "2", *more]


def make(folder: Path, home: str = "made", *more: str) -> int:
    return script.main(arguments(folder, home, *more))


def store_of(folder: Path, home: str = "made") -> Path:
    return folder.parent / "cache" / home / "features.h5"


def same_bytes_as_clean(folder: Path, *more: str) -> bool:
    """Whether the store is what an undisturbed run makes."""
    shutil.rmtree(store_of(folder, "clean").parent, ignore_errors=True)
    make(folder, "clean", *more)
    return store_of(folder).read_bytes() == store_of(folder, "clean").read_bytes()


def start(folder: Path, before: Callable[[], None] | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "preprocess.features", *arguments(folder)]
    return subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=before
    )


def wait_for_parts(folder: Path, process: subprocess.Popen[str]) -> None:
    parts = store_of(folder).with_name("parts")
    while not list(parts.glob("*.part")) and process.poll() is None:
        time.sleep(0.002)
