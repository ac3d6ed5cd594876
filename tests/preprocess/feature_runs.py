"""Runs of make features on a small set, and what they leave."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from preprocess import features as script
from tests.forked_python import ForkedPython

ROOT = Path(__file__).parent.parent.parent
SMALL_FEATURES = [
    "--features.sample_rate_hz",
    "16000",
    "--features.n_fft",
    "512",
    "--features.hop_length",
    "160",
    "--features.n_bins",
    "32",
]


def arguments(folder: Path, home: str = "made", *more: str) -> list[str]:
    where = ["--data.folder", str(folder), "--cache", str(folder.parent / "cache"), "--name", home, "--data.folds", "2"]
    return [*where, *SMALL_FEATURES, "--jobs", "2", *more]


def make(folder: Path, home: str = "made", *more: str) -> int:
    return script.main(arguments(folder, home, *more))


def store_path(folder: Path, home: str = "made") -> Path:
    return folder.parent / "cache" / home / "features.h5"


def same_bytes_as_clean(folder: Path, *more: str) -> bool:
    """Whether the store is what an undisturbed run makes."""
    shutil.rmtree(store_path(folder, "clean").parent, ignore_errors=True)
    make(folder, "clean", *more)
    return store_path(folder).read_bytes() == store_path(folder, "clean").read_bytes()


def start(
    folder: Path,
    *more: str,
    before: Callable[[], None] | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.Popen[str]:
    """The real command, in a session of its own."""
    popen = subprocess.Popen if before else ForkedPython
    return popen(
        [sys.executable, "-m", "preprocess.features", *arguments(folder, "made", *more)],
        cwd=ROOT,
        env=os.environ | (environment or {}),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=before,
    )


def wait_for_shards(folder: Path, process: subprocess.Popen[str]) -> None:
    shards = store_path(folder).with_name("shards")
    while not list(shards.glob("*.shard")) and process.poll() is None:
        time.sleep(0.002)
