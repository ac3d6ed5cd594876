"""make features stopped in the middle goes on where it was, and ends as if it had not been stopped."""

import os
import resource
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.preprocess.feature_runs import make, same_bytes_as_clean, start, store_path, wait_for_shards


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_what_was_finished_before_a_stop_is_not_repeated(many: Path, computed: list[str], how: signal.Signals) -> None:
    process = start(many)
    wait_for_shards(many, process)
    os.killpg(process.pid, how)
    _, errors = process.communicate(timeout=20)
    assert not store_path(many).exists()
    assert process.returncode == (-9 if how == signal.SIGKILL else 130), errors
    assert "Traceback" not in errors
    assert how == signal.SIGKILL or "interrupted; what was finished is kept" in errors
    make(many)
    assert 0 < len(computed) < 318
    assert same_bytes_as_clean(many)
    assert not store_path(many).with_name("shards").exists()


@pytest.mark.parametrize("n_bytes", [60_000, 300_000])
def test_a_full_disk_stops_in_a_line_and_is_resumed(many: Path, n_bytes: int) -> None:
    """Files that may not grow stand in for the disk: first the parts do not fit, then the whole."""
    process = start(many, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes)))
    check_halted(process, many, "File too large")
    make(many)
    assert same_bytes_as_clean(many)


@pytest.fixture
def small_disk(many: Path) -> Iterator[Path]:
    """A disk of 500 kB where the cache lies; where none can be mounted the test is skipped, saying so.

    It has room for the first part of each worker, and none for all frames, which are 690 kB.
    """
    cache = store_path(many).parent.parent
    cache.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=500k", "tmpfs", cache], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"no disk can be mounted: {mounted.stderr.strip()}")
    yield cache
    subprocess.run(["umount", "-l", cache], check=True)


def test_a_disk_that_is_full_and_then_larger(many: Path, small_disk: Path) -> None:
    check_halted(start(many), many, "No space left on device")
    assert list(store_path(many).parent.rglob("*.shard")), "nothing was kept"
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    make(many)
    assert same_bytes_as_clean(many)


def check_halted(process: subprocess.Popen[str], folder: Path, why: str) -> None:
    """One line that says why, and nothing half-written."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("earmark: ") and why in last and "what was finished is kept" in last
    assert "Traceback" not in errors
    assert not store_path(folder).exists()
    assert not [path for path in store_path(folder).parent.rglob("*") if path.name.endswith(".tmp")]
