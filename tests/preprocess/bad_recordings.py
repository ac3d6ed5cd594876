"""`append_clip` and `measure_recording` with a decoder that fails at recordings by their names.

Sandboxes import this module by name.

The names begin with: crash, abort, hang, killed, once (killed, but not the second time), half (as once, amid its
frames), memory, bug, slow.
"""

import ctypes
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.sandbox import run_isolated
from preprocess.audio import isolated
from preprocess.build import shard_task
from preprocess.build.shard_task import ClipJob
from preprocess.statistics import measure
from preprocess.statistics.measure import AudioStats
from preprocess.store.schema import Row
from preprocess.store.shards import count_frame_bytes
from recipe import Features

HANG_TIMEOUT_S = 0.3
HUNG = f"it hung: no progress for {HANG_TIMEOUT_S:g} s"
REASONS = {
    "crash": "it ended its process (SIGSEGV)",
    "abort": "it ended its process (SIGABRT)",
    "hang": HUNG,
    "killed": "it ended its process (SIGKILL)",
    "memory": "it needs more memory than its process may use",
    "bug": "RuntimeError: a bug",
}
"""Why those fail that do."""
TO_BLAME = {"crash", "abort"}
"""Which of them fail by their own fault."""


def append_clip(path: str, job: ClipJob, shard: str, n_before: int, features: Features) -> tuple[list[Row], float]:
    """Do what the name of the recording says, then as the real one."""
    if Path(path).name.startswith("half") and not Path(f"{path}.died").exists():
        with Path(shard).open("r+b") as file:
            file.seek(count_frame_bytes(n_before, features))
            file.write(b"\xff" * 100_000)
    _do_as_named(path)
    return shard_task.append_clip(path, job, shard, n_before, features)


def measure_recording(path: str, channel: str | int) -> AudioStats:
    """Do what the name of the recording says, then as the real one."""
    _do_as_named(path)
    return measure.measure_recording(path, channel)


def _do_as_named(path: str) -> None:
    name, died = Path(path).name, Path(f"{path}.died")
    if name.startswith("crash"):
        ctypes.string_at(0)
    if name.startswith("abort"):
        os.abort()
    if name.startswith("hang"):
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter, as a decoder in C may
    if name.startswith("killed"):
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith(("once", "half")) and not died.exists():
        died.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if name.startswith("memory"):
        bytearray(1 << 40)
    if name.startswith("bug"):
        raise RuntimeError("a bug")
    if name.startswith("slow"):
        time.sleep(0.15)


def _run_isolated(function: Callable[..., Any], path: str, *arguments: Any, **options: Any) -> Iterator[Any]:
    """`run_isolated` that does not wait long for what hangs."""
    run = partial(run_isolated, stall_timeout_s=HANG_TIMEOUT_S) if Path(path).name.startswith("hang") else run_isolated
    return run(function, path, *arguments, **options)


def let_recordings_be_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have recordings do what their names say."""
    monkeypatch.setattr(shard_task, "append_clip", append_clip)
    monkeypatch.setattr("preprocess.survey.measure_recording", measure_recording)
    monkeypatch.setattr(isolated, "run_isolated", _run_isolated)


def write_noise(path: Path, seed: int, n_samples: int = 3_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples)
    soundfile.write(path, noise, 16_000, format="WAV")
