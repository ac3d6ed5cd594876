"""The same commands on a dask cluster of two worker processes: the same stores, whoever dies."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from core.errors import UserError
from core.parallel import run_parallel
from tests.core.sandbox_tasks import slow_square
from tests.preprocess.feature_runs import make, store_path

ROOT = Path(__file__).parents[2]
pytest.importorskip("distributed")


class Cluster:
    """A scheduler and two workers, processes as `dask scheduler` and `dask worker` start them."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "scheduler.json"
        self.scheduler = self._start("dask_scheduler", "--port", "0", "--host", "127.0.0.1")
        while not self.file.exists():
            time.sleep(0.05)
        self.workers = [self._start("dask_worker", "--nthreads", "1", "--no-nanny") for _ in range(2)]
        self.address = self.file.read_text().split('"address": "')[1].split('"')[0]

    def _start(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", f"distributed.cli.{module}", *options, "--no-dashboard"]
        environment = os.environ | {"PYTHONPATH": str(ROOT), "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
        return subprocess.Popen(
            [*command, "--scheduler-file", str(self.file)], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL
        )

    def close(self) -> None:
        for process in (*self.workers, self.scheduler):
            process.kill()
            process.wait()


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("cluster"))
    yield started
    started.close()


def test_features_are_the_same_as_on_one_machine(recordings: Path, cluster: Cluster) -> None:
    assert make(recordings, "cluster", "--scheduler", cluster.address) == 0
    assert make(recordings, "here") == 0
    assert store_path(recordings, "cluster").read_bytes() == store_path(recordings, "here").read_bytes()


def test_a_worker_that_dies_costs_no_result(cluster: Cluster) -> None:
    results = run_parallel(slow_square, range(12), 1, cluster.address)
    first = next(results)
    cluster.workers[0].kill()
    assert sorted([first, *results]) == [number**2 for number in range(12)]


def test_a_scheduler_that_dies_is_said_in_a_line(cluster: Cluster) -> None:
    results = run_parallel(slow_square, range(40), 1, cluster.address)
    next(results)
    cluster.scheduler.kill()
    with pytest.raises(UserError, match="the connection is lost; what was finished is kept"):
        list(results)


def test_an_address_without_a_scheduler_is_said_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.cluster.CONNECT_TIMEOUT_S", 1)
    with pytest.raises(UserError, match=r"tcp://127\.0\.0\.1:9: no dask scheduler can be reached there"):
        list(run_parallel(slow_square, range(2), 1, "tcp://127.0.0.1:9"))


def test_a_cluster_without_workers_is_said_in_a_line(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.cluster.WORKER_TIMEOUT_S", 1)
    for worker in cluster.workers:
        worker.kill()
        worker.wait()
    with pytest.raises(UserError, match="no worker within 1 s; start one"):
        list(run_parallel(slow_square, range(2), 1, cluster.address))


def test_other_versions_on_a_worker_are_named(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.cluster.platform.python_version", lambda: "3.99")
    with pytest.raises(UserError, match=r"worker tcp://.* has python 3\.\d+\.\d+ \(here 3\.99\): install the same"):
        list(run_parallel(slow_square, range(2), 1, cluster.address))
