"""A dask cluster on this machine, for tests: a scheduler and two workers."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.forked_python import ForkedPython

ROOT = Path(__file__).parents[1]
pytest.importorskip("distributed")


class Cluster:
    """A scheduler and two workers, processes as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder: Path, worker_options: Sequence[str] = ("--no-nanny",)) -> None:
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--host", "127.0.0.1", cwd=folder)
        while not self.file.exists():
            time.sleep(0.05)
        self.worker_options, self.workers = worker_options, list[subprocess.Popen[str]]()
        for _ in range(2):
            self.add_worker()
        self.address = self.file.read_text().split('"address": "')[1].split('"')[0]

    def add_worker(self) -> None:
        options = ("--nthreads", "1", *self.worker_options)
        self.workers.append(self._start("dask_worker", *options, cwd=ROOT, PYTHONPATH=str(ROOT)))

    def _start(self, module: str, *options: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
        """As `dask` and `make worker` start them: a scheduler does not find the project."""
        command = [sys.executable, "-m", f"distributed.cli.{module}", *options, "--no-dashboard"]
        without = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        return ForkedPython(
            [*command, "--scheduler-file", str(self.file)],
            cwd=cwd,
            env=without | environment | {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"},
            text=True,
            stderr=subprocess.DEVNULL,
        )

    def sandboxes(self) -> list[psutil.Process]:
        """The processes that workers have started."""
        return [child for worker in self.workers for child in psutil.Process(worker.pid).children()]

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


def start_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.close()


cluster = pytest.fixture(start_cluster)
shared_cluster = pytest.fixture(start_cluster, scope="module")
"""For tests that harm none of its processes."""


@pytest.fixture
def nanny_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Workers that are started again when they die."""
    started = Cluster(tmp_path_factory.mktemp("cluster"), ["--nanny"])
    yield started
    started.close()
