"""What every test may lean on: synthetic recordings, and the real ones where they are at hand."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event
from unittest.mock import patch

# Tensors as small as these take ten times as long on two busy cores as on one; NumPy and PyTorch read it when they are
# imported.
os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pytest
import soundfile
import torch

from core.sandbox import Sandbox, cancel_sandboxes

ROOT = Path(__file__).parent.parent
REAL_SOUND = ROOT.parent / "shared" / "data"

# `make` in a test is a user's own, not one below `make test`: that one would be told its options and name its folder.
for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
    os.environ.pop(name, None)

# A process that a script starts in the background ignores SIGINT, and so are its children; tests send it to them.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config: pytest.Config) -> None:
    """Processes side by side take the files in the order of the collection."""
    config.option.loadscopereorder = False  # of pytest-xdist


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files of few tests, which take the longest, come first: none is left for one process at the end.

    Tests marked cuda are skipped where there is no such GPU.
    """
    n_tests = Counter(item.path for item in items)
    items.sort(key=lambda item: n_tests[item.path])
    for item in items:
        if item.get_closest_marker("cuda") and not torch.cuda.is_available():
            item.add_marker(pytest.mark.skip(reason="no GPU of CUDA"))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """PyTorch computes with one thread, whatever the commands of the test before have set in this process."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="session")
def no_fsync() -> Iterator[None]:
    """Files of tests need not survive a power cut; the commands that tests start wait for the disk as ever."""
    with patch("core.files.fsync_path"):
        yield


@pytest.fixture
def real_sound() -> Callable[[str], Path]:
    """The folder of a set of real recordings; the test is skipped, saying so, where it is not at hand."""

    def folder(name: str) -> Path:
        if not (REAL_SOUND / name).is_dir():
            pytest.skip(f"no real recordings at {REAL_SOUND / name}")
        return REAL_SOUND / name

    return folder


@pytest.fixture
def faulty_decoders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Sandboxes fail at recordings named for it (tests/decoder_faults.py); none of before is used, none is left."""
    (tmp_path / "python").mkdir()
    (tmp_path / "python" / "sitecustomize.py").write_text("from tests.decoder_faults import install\n\ninstall()\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path / 'python'}{os.pathsep}{ROOT}")
    monkeypatch.setenv("MARK_OF_HANGING", str(tmp_path / "hangs"))
    with cancel_sandboxes():
        pass
    yield
    with cancel_sandboxes():
        pass


@pytest.fixture
def short_stall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> float:
    """Seconds after which a sandbox of `faulty_decoders` that hangs is found to; it is not tried again."""
    timeout_s, wait = 0.3, Sandbox._wait

    def wait_briefly(sandbox: Sandbox, stall_timeout_s: float, cancelled: Event | None) -> None:
        hangs = (tmp_path / f"hangs{sandbox.process.pid}").exists()
        wait(sandbox, timeout_s if hangs else stall_timeout_s, cancelled)

    monkeypatch.setattr(Sandbox, "_wait", wait_briefly)
    monkeypatch.setattr("core.sandbox.N_ATTEMPTS", 1)
    return timeout_s


@pytest.fixture
def tone_folders(tmp_path: Path) -> Callable[..., Path]:
    """A folder per class of short tones in noise: easy to learn, small to read."""

    def make(clips: int = 10, seconds: float = 1.2, sample_rate_hz: int = 16_000) -> Path:
        random = np.random.default_rng(0)
        folder = tmp_path / "tones"
        for label, tone_hz in {"low, deep": 300.0, "mid": 1_000.0, "高い": 4_000.0}.items():
            (folder / label).mkdir(parents=True)
            for number in range(clips):
                time_s = np.arange(int(seconds * sample_rate_hz)) / sample_rate_hz
                tone = 0.3 * np.sin(2 * np.pi * tone_hz * random.uniform(0.9, 1.1) * time_s)
                sound = tone + 0.03 * random.standard_normal(len(time_s))
                soundfile.write(folder / label / f"{label[:3]}{number}.wav", sound, sample_rate_hz)
        return folder

    return make
