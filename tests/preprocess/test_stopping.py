"""make features stopped in the middle goes on where it was, and ends as if it had not been stopped."""

from core.entrypoint import RESUME_ADVICE

import os
import random
import resource
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.preprocess.conftest import write_recordings
from tests.preprocess.feature_runs import make, start, store_path, wait_for_shards
from tests.processes import all_ended, check_interrupted, children_of

N_KILLS = 6
"""Random points at which something is killed; raise it to look for rare faults."""
SEED = 0
HANGING_PYAV = """
import ctypes, os, pathlib
(pathlib.Path(__file__).parent / f"hangs{os.getpid()}").touch()
ctypes.PyDLL(None).sleep(600)  # holds the interpreter
"""


@pytest.fixture(scope="module")
def all_recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small set with 300 links to its recordings: enough to be stopped among."""
    folder = write_recordings(tmp_path_factory.mktemp("many") / "data")
    sources = sorted(folder.rglob("??.wav"))
    for number in range(300):
        source = sources[number % 18]
        (source.parent / f"link{number}.wav").hardlink_to(source)
    return folder


@pytest.fixture(scope="module")
def clean(all_recordings: Path) -> bytes:
    """The store that an undisturbed run makes."""
    make(all_recordings)
    return store_path(all_recordings).read_bytes()


@pytest.fixture
def many(all_recordings: Path, tmp_path: Path) -> Path:
    """A folder of the test's own, whose classes are links to those of `all_recordings`."""
    (tmp_path / "data").mkdir()
    for label in ("cat", "dog"):
        (tmp_path / "data" / label).symlink_to(all_recordings / label)
    return tmp_path / "data"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_what_was_finished_before_a_stop_is_not_repeated(
    many: Path, clean: bytes, computed: list[str], how: signal.Signals
) -> None:
    process = start(many)
    wait_for_shards(many, process)
    os.killpg(process.pid, how)
    check_interrupted(process, how, RESUME_ADVICE)
    assert not store_path(many).exists()
    make(many)
    assert 0 < len(computed) < 318
    assert store_path(many).read_bytes() == clean
    assert not store_path(many).with_name("shards").exists()


def wait_for_children(process: subprocess.Popen[str]) -> None:
    while not children_of(process) and process.poll() is None:
        time.sleep(0.01)


@pytest.fixture
def start_hanging(many: Path, tmp_path: Path) -> Callable[[], subprocess.Popen[str]]:
    """Start the command on recordings of which one, the first, hangs in its decoder, and wait until it does."""
    fake = tmp_path / "fake"
    fake.mkdir()
    (fake / "av.py").write_text(HANGING_PYAV)
    (many / "ant").mkdir()
    (many / "ant" / "hangs.wav").write_bytes(b"no sound, so that soundfile refuses it" * 1_000)

    def start_until_it_hangs() -> subprocess.Popen[str]:
        process = start(many, environment={"PYTHONPATH": str(fake)})
        wait_for_shards(many, process)
        while not list(fake.glob("hangs*")) and process.poll() is None:
            time.sleep(0.01)
        return process

    return start_until_it_hangs


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("send", [os.kill, os.killpg], ids=["alone", "group"])
def test_a_stop_ends_a_decoder_that_hangs(
    start_hanging: Callable[[], subprocess.Popen[str]], send: Callable[[int, int], None], how: signal.Signals
) -> None:
    process = start_hanging()
    children = children_of(process)
    assert children
    send(process.pid, how)
    check_interrupted(process, how, RESUME_ADVICE)
    assert all_ended(children)


def test_a_killed_command_leaves_no_process(
    many: Path, clean: bytes, start_hanging: Callable[[], subprocess.Popen[str]], computed: list[str]
) -> None:
    process = start_hanging()
    children = children_of(process)
    assert len(children) == 2
    os.kill(process.pid, signal.SIGKILL)
    process.communicate(timeout=20)
    assert all_ended(children)
    (many / "ant" / "hangs.wav").unlink()
    make(many)
    assert 0 < len(computed) < 318
    assert store_path(many).read_bytes() == clean


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSEGV])
@pytest.mark.parametrize("starting", [True, False])
def test_a_sandbox_that_is_killed_costs_nothing(many: Path, clean: bytes, how: signal.Signals, starting: bool) -> None:
    process = start(many)
    if starting:
        wait_for_children(process)
    else:
        wait_for_shards(many, process)
    for child in children_of(process):
        with suppress(psutil.NoSuchProcess):
            child.send_signal(how)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert not store_path(many).with_name("failed.csv").exists()
    assert store_path(many).read_bytes() == clean


def test_the_store_is_the_same_whatever_was_killed_and_whenever(many: Path, clean: bytes) -> None:
    """The command, all of its processes, or one sandbox; what is not done is done by the next, killed or not."""
    store, generator = store_path(many), random.Random(SEED)
    process = start(many)
    wait_for_children(process)
    began = time.monotonic()
    process.communicate(timeout=60)
    duration_s = time.monotonic() - began
    for number in range(N_KILLS):
        where = f"kill {number} of seed {SEED}"
        if store.exists():
            assert store.read_bytes() == clean, where
            store.unlink()
        process = start(many)
        wait_for_children(process)
        time.sleep(generator.uniform(0, duration_s))
        victim = ("command", "group", "sandbox")[number % 3]
        children = children_of(process)
        with suppress(ProcessLookupError, psutil.NoSuchProcess):  # it was quicker
            if victim == "command":
                process.kill()
            elif victim == "group":
                os.killpg(process.pid, signal.SIGKILL)
            elif children:
                generator.choice(children).kill()
        _, errors = process.communicate(timeout=60)
        assert process.returncode in ((0,) if victim == "sandbox" else (0, -9)), f"{where}: {errors}"
    make(many)
    assert store.read_bytes() == clean
    assert not store.with_name("failed.csv").exists()
    assert not [path for path in store.parent.rglob("*") if path.name.endswith(".tmp")]


@pytest.mark.parametrize("n_bytes", [60_000, 300_000])
def test_a_full_disk_stops_in_a_line_and_is_resumed(many: Path, clean: bytes, n_bytes: int) -> None:
    """Files that may not grow stand in for the disk: first the shards do not fit, then the whole."""
    process = start(many, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (n_bytes, n_bytes)))
    check_halted(process, many, "File too large")
    make(many)
    assert store_path(many).read_bytes() == clean


@pytest.fixture
def small_disk(many: Path) -> Iterator[Path]:
    """A disk of 500 kB where the cache lies; where none can be mounted the test is skipped, saying so.

    It has room for the first shard of each sandbox, and none for all frames, which are 690 kB.
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


def test_a_disk_that_is_full_and_then_larger(many: Path, clean: bytes, small_disk: Path) -> None:
    check_halted(start(many), many, "No space left on device")
    assert list(store_path(many).parent.rglob("*.shard")), "nothing was kept"
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    make(many)
    assert store_path(many).read_bytes() == clean


def check_halted(process: subprocess.Popen[str], folder: Path, why: str) -> None:
    """One line that says why, and nothing half-written."""
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2, errors
    last = errors.strip().splitlines()[-1]
    assert last.startswith("earmark: ") and why in last and "what was finished is kept" in last
    assert "Traceback" not in errors
    assert not store_path(folder).exists()
    assert not [path for path in store_path(folder).parent.rglob("*") if path.name.endswith(".tmp")]
