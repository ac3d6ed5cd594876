"""The same commands on a dask cluster of two worker processes: the same stores, whoever dies."""

import threading
import time
from pathlib import Path

import pytest

from core.errors import UserError
from core.parallel import run_parallel
from tests.core.sandbox_tasks import end_process, slow_square
from tests.dask_cluster import Cluster, cluster, nanny_cluster, shared_cluster
from tests.preprocess.feature_runs import make, store_path

__all__ = ["cluster", "nanny_cluster", "shared_cluster"]


def test_features_are_the_same_as_on_one_machine(recordings: Path, shared_cluster: Cluster) -> None:
    assert make(recordings, "cluster", "--scheduler", shared_cluster.address) == 0
    assert make(recordings, "here") == 0
    assert store_path(recordings, "cluster").read_bytes() == store_path(recordings, "here").read_bytes()


def test_a_worker_that_dies_costs_no_result(cluster: Cluster) -> None:
    results = run_parallel(slow_square, range(6), 1, cluster.address)
    first = next(results)
    cluster.workers[0].kill()
    assert sorted([first, *results]) == [number**2 for number in range(6)]


def test_a_scheduler_that_dies_is_said_in_a_line(cluster: Cluster) -> None:
    results = run_parallel(slow_square, range(40), 1, cluster.address)
    next(results)
    cluster.scheduler.kill()
    with pytest.raises(UserError, match="the connection is lost; what was finished is kept"):
        list(results)


def test_an_early_end_is_no_error_where_the_scheduler_just_died(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.cluster.CONNECT_TIMEOUT_S", 3)
    results = run_parallel(slow_square, range(40), 1, cluster.address)
    next(results)
    cluster.scheduler.kill()
    cluster.scheduler.wait()
    with pytest.raises(KeyboardInterrupt):
        results.throw(KeyboardInterrupt())


def test_a_scheduler_that_dies_before_the_first_task_is_said_in_a_line(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end_scheduler(*_: object, **__: object) -> None:
        cluster.scheduler.kill()
        cluster.scheduler.wait()

    monkeypatch.setattr("core.cluster.CONNECT_TIMEOUT_S", 3)
    monkeypatch.setattr("distributed.Client.wait_for_workers", end_scheduler)
    with pytest.raises(UserError, match=r"no worker's versions can be asked for|the connection is lost"):
        list(run_parallel(slow_square, range(2), 1, cluster.address))


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


def test_other_versions_on_a_worker_are_named(shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.cluster.platform.python_version", lambda: "3.99")
    with pytest.raises(UserError, match=r"worker tcp://.* has python 3\.\d+\.\d+ \(here 3\.99\): install the same"):
        list(run_parallel(slow_square, range(2), 1, shared_cluster.address))


def test_another_python_of_the_scheduler_is_named(shared_cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("distributed.Client.run_on_scheduler", lambda *_: "3.8.1")
    with pytest.raises(UserError, match=r"the scheduler has python 3\.8\.1 \(here 3\.\d+\.\d+\): install the same"):
        list(run_parallel(slow_square, range(2), 1, shared_cluster.address))


def test_a_task_that_ends_each_worker_is_said_in_a_line(nanny_cluster: Cluster) -> None:
    with pytest.raises(UserError, match=r"4 workers died, each while it ran the same task, the last at tcp://"):
        list(run_parallel(end_process, range(1), 1, nanny_cluster.address))


def test_workers_may_come_late_and_may_all_be_lost_for_a_while(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("core.cluster.CHECK_WORKERS_S", 0.5)
    results = run_parallel(slow_square, range(8), 1, cluster.address)
    first = next(results)
    time.sleep(0.5)  # the workers have more results, which are lost with them
    for worker in cluster.workers:
        worker.kill()
    threading.Timer(1.2, cluster.add_worker).start()
    assert sorted([first, *results]) == [number**2 for number in range(8)]
    assert "no worker is left, waiting for another" in capsys.readouterr().err
