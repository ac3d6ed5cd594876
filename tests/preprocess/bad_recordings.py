"""`append_clips` and `measure_recording` with a decoder that fails at recordings by their names.

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
from tempfile import gettempdir
from threading import Event
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import soundfile

from core.sandbox import Sandbox, _Progress, report_progress
from preprocess.audio.blocks import DecodeError
from preprocess.build import shard_task
from preprocess.build.shard_task import ClipJob, Written
from preprocess.statistics import measure
from preprocess.statistics.measure import AudioStats
from preprocess.store.encoding import count_frame_bytes
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


def append_clips(*arguments: Any) -> Iterator[Written | DecodeError]:
    """As the real one, but that recordings do first what their names say."""
    with patch.object(shard_task, "append_clip", partial(_append_clip, shard_task.append_clip)):
        yield from shard_task.append_clips(*arguments)


def _append_clip(
    append: Callable[..., Written], job: ClipJob, shard: str, n_before: int, features: Features
) -> Written:
    if Path(job.path).name.startswith("half") and not Path(f"{job.path}.died").exists():
        with Path(shard).open("r+b") as file:
            file.seek(count_frame_bytes(n_before, features))
            file.write(b"\xff" * 100_000)
    _do_as_named(job.path)
    return append(job, shard, n_before, features)


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
        _hanging_mark(os.getpid(), os.getppid()).touch()
        _Progress.reported_s = 0.0
        report_progress()  # the parent looks for the mark
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


def _hanging_mark(process_id: int, parent_id: int) -> Path:
    """A file that is there once a process hangs."""
    return Path(gettempdir()) / f"hangs_{process_id}_{parent_id}"


def _wait(wait: Callable[..., None], sandbox: Sandbox, stall_timeout_s: float, cancelled: Event | None) -> None:
    """`Sandbox._wait` that does not wait long for what hangs."""
    mark = _hanging_mark(sandbox.process.pid, os.getpid())
    try:
        wait(sandbox, HANG_TIMEOUT_S if mark.exists() else stall_timeout_s, cancelled)
    except BaseException:
        mark.unlink(missing_ok=True)
        raise


def let_recordings_be_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have recordings do what their names say."""
    monkeypatch.setattr(shard_task, "append_clips", append_clips)
    monkeypatch.setattr("preprocess.survey.measure_recording", measure_recording)
    wait = Sandbox._wait
    monkeypatch.setattr(Sandbox, "_wait", lambda *arguments: _wait(wait, *arguments))


def write_noise(path: Path, seed: int, n_samples: int = 3_000) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).uniform(-0.5, 0.5, n_samples)
    soundfile.write(path, noise, 16_000, format="WAV")
