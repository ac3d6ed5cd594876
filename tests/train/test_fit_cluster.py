"""make train on a dask cluster of two worker processes: the networks of one machine, whoever dies."""

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil
import pytest
from distributed import Client

from tests.dask_cluster import Cluster, cluster
from tests.train.factories import ROOT, fit, get_run_dir, start_training, wait_for, write_training_dataset
from tests.train.test_fit_again import STATEFUL, assert_same_run

__all__ = ["cluster"]
LONG = [*STATEFUL.split(), "--training.epochs", "12"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The cache of a run of LONG on one machine."""
    cache = tmp_path_factory.mktemp("undisturbed")
    write_training_dataset(cache, noisy=3)
    fit(cache, *LONG)
    return cache


def last_epochs(cache: Path) -> list[int]:
    """Epochs in the log of each fold that has begun."""
    return [len(path.read_text().splitlines()) - 1 for path in get_run_dir(cache).glob("fold*/log.csv")]


@pytest.mark.parametrize(("target", "others"), [("features", []), ("train", []), ("predict", ["INPUT=sound"])])
def test_make_passes_the_scheduler_on(target: str, others: list[str]) -> None:
    command = ["make", "-n", "-o", ".venv/.ready", target, "SCHEDULER=tcp://host:8786", *others]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert "--scheduler tcp://host:8786" in printed


def test_a_cluster_of_which_a_worker_dies_trains_the_same_networks(
    cache: Path, cluster: Cluster, undisturbed: Path
) -> None:
    process = start_training(cache, *LONG, "--scheduler", cluster.address)
    wait_for(lambda: len(last_epochs(cache)) == 2, process)
    cluster.workers[0].kill()
    printed, complaints = process.communicate()
    assert process.returncode == 0, complaints
    assert printed.count("is trained") == 3
    with Client(cluster.address) as client:
        assert "core" not in client.run_on_scheduler(lambda: [*sys.modules]), "it may lack the project"
    assert_same_run(undisturbed, cache)


@pytest.mark.parametrize("how", ["the scheduler dies", "Ctrl-C", "the command is killed"])
def test_a_stop_is_said_in_a_line_and_ends_what_workers_train(
    cache: Path, cluster: Cluster, undisturbed: Path, how: str
) -> None:
    process = start_training(cache, *LONG, "--scheduler", cluster.address)
    wait_for(lambda: len(last_epochs(cache)) == 2, process)
    trained_in = cluster.sandboxes()
    assert len(trained_in) == 2
    stops: dict[str, tuple[Callable[[], object], int, str, int]] = {
        "the scheduler dies": (cluster.scheduler.kill, 2, "earmark: --scheduler tcp://127.0.0.1:", 60),
        "Ctrl-C": (partial(process.send_signal, signal.SIGINT), 130, "earmark: interrupted; ", 3),
        "the command is killed": (process.kill, -signal.SIGKILL, "", 10),
    }
    stop, status, line, timeout_s = stops[how]
    stop()
    _, complaints = process.communicate()
    assert process.returncode == status, complaints
    assert not line or complaints.splitlines()[-1].startswith(line)
    assert "Traceback" not in complaints
    assert not psutil.wait_procs(trained_in, timeout=timeout_s)[1]
    assert not (get_run_dir(cache) / "fold2").exists()
    fit(cache, *LONG, "--resume")
    assert_same_run(undisturbed, cache)
