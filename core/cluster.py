"""A dask cluster, whose workers run tasks in place of this machine's threads."""

import hashlib
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from core.errors import UserError

if TYPE_CHECKING:
    from distributed import Client

CONNECT_TIMEOUT_S = 10
WORKER_TIMEOUT_S = 60
PACKAGES = ("numpy", "torch", "soundfile", "av", "soxr", "ducc0", "librosa", "h5py", "joblib", "distributed")
"""All machines must have the same versions of them."""
ROOT = Path(__file__).parents[1]
START_HINT = "start one in the project's folder: PYTHONPATH=. .venv/bin/dask worker ADDRESS"


@contextmanager
def connect(address: str) -> Iterator["Client"]:
    """A client of the scheduler at `address` (tcp://host:8786), with at least one worker.

    Raises UserError without a scheduler, without a worker within WORKER_TIMEOUT_S, where a worker has other versions
    of the project or its packages, and where the connection is lost.
    """
    try:
        from distributed import Client, TimeoutError
        from distributed.client import FutureCancelledError
        from distributed.comm.core import CommClosedError
    except ImportError:
        raise UserError("--scheduler needs dask: .venv/bin/pip install -r requirements-cluster.txt") from None
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"--scheduler {address}: no dask scheduler can be reached there ({error})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_TIMEOUT_S)
        except TimeoutError:
            raise UserError(f"--scheduler {address}: no worker within {WORKER_TIMEOUT_S} s; {START_HINT}") from None
        try:
            _check_workers(client)
            yield client
        except (FutureCancelledError, CommClosedError):
            raise connection_lost(address) from None


def connection_lost(address: str) -> UserError:
    """The error to raise where a scheduler is gone before all tasks are done."""
    return UserError(
        f"--scheduler {address}: the connection is lost; what was finished is kept, run the same command again"
    )


def describe_installation() -> dict[str, str]:
    """Versions of Python, the project (a digest of its code) and its packages, by name."""
    code = hashlib.sha256()
    for folder in ("core", "recipe", "preprocess", "train", "predict"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            code.update(path.relative_to(ROOT).as_posix().encode() + path.read_bytes())
    versions = {"python": platform.python_version(), "the project's code": code.hexdigest()[:12]}
    return versions | {name: version(name) for name in PACKAGES}


def _check_workers(client: "Client") -> None:
    """Raise UserError that names a worker with other versions than this process has."""
    ours = describe_installation()
    try:
        by_worker = client.run(describe_installation)
    except ImportError as error:
        raise UserError(f"a worker cannot import the project ({error}); {START_HINT}") from None
    for worker, theirs in by_worker.items():
        differing = [f"{name} {theirs.get(name)} (here {own})" for name, own in ours.items() if theirs.get(name) != own]
        if differing:
            raise UserError(f"worker {worker} has {', '.join(differing)}: install the same there")
