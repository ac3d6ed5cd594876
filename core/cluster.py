"""A dask cluster, whose workers run tasks in place of this machine's threads."""

from core.entrypoint import log_warning

import hashlib
import logging
import pickle
import platform
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, TypeVar

from core.errors import UserError
from core.sandbox import cancel_sandboxes

if TYPE_CHECKING:
    from distributed import Client, Future

Task = TypeVar("Task")
Result = TypeVar("Result")
CONNECT_TIMEOUT_S = 10
WORKER_TIMEOUT_S = 60
POLL_S, CHECK_WORKERS_S = 0.02, 5.0
PACKAGES = ("numpy", "torch", "soundfile", "av", "soxr", "ducc0", "librosa", "h5py", "joblib", "distributed")
"""All machines must have the same versions of them."""
ROOT = Path(__file__).parents[1]
START_HINT = "start one in the project's folder: make worker SCHEDULER=ADDRESS"
_commands: list[str] = []
"""In a worker: the command of each task that it runs, by the command's token."""


def run_on_cluster(function: Callable[[Task], Result], tasks: Iterable[Task], address: str) -> Generator[Result]:
    """Yield `function(task)` for each task, in the order in which workers end them.

    Workers repeat the tasks of a lost one, and may come and go. An early end, as by Ctrl-C, ends the sandboxes of the
    workers. Raises UserError as `connect` does, and where each worker that runs a task dies.
    """
    with connect(address) as client:
        import cloudpickle
        from distributed import as_completed
        from distributed.scheduler import KilledWorker

        waiting, token = [cloudpickle.dumps(task) for task in tasks], token_hex(8)
        run = cloudpickle.dumps(
            partial(_run_task, function=function, token=token, installation=describe_installation())
        )
        # The scheduler unpickles what it deals: these bytes do not have it import the project, which it may lack.
        futures = client.map(lambda task, run: pickle.loads(run)(pickle.loads(task)), waiting, run=run, pure=False)
        finished, n_results, checked_s, has_workers = as_completed(futures, loop=client.loop), 0, time.monotonic(), True
        del futures  # a result stays in a worker's memory as long as its future is there
        ready = deque["Future[Result]"]()
        try:
            while n_results < len(waiting):
                ready += finished.next_batch(block=False)
                for result in _take_results(ready):
                    yield result
                    n_results += 1
                if n_results < len(waiting) and (client.status != "running" or (not ready and finished.is_empty())):
                    raise _connection_lost(address)
                if time.monotonic() - checked_s > CHECK_WORKERS_S:
                    had_workers, has_workers = has_workers, bool(client.scheduler_info()["workers"])
                    if had_workers and not has_workers:
                        log_warning(f"--scheduler {address}: no worker is left, waiting for another; {START_HINT}")
                    checked_s = time.monotonic()
                time.sleep(POLL_S)
        except BaseException as error:
            with suppress(OSError):  # a lost connection, which a client may learn of here
                if client.status == "running":
                    client.cancel(list(finished.futures))
                    client.run(_end_tasks, token, on_error="ignore")
            if not isinstance(error, KilledWorker):
                raise
            raise UserError(
                f"{error.allowed_failures + 1} workers died, each while it ran the same task, the last at "
                f"{error.last_worker.address}: see what they printed, and whether their memory is enough"
            ) from None


def _take_results(ready: deque["Future[Result]"]) -> Iterator[Result]:
    """Yield results of finished tasks and remove them, up to one that is not there.

    It was lost with its worker and is computed again, or the connection is lost. Raises what a task raised.
    """
    while ready:
        try:
            result = ready[0].result(timeout=CHECK_WORKERS_S)
        except OSError:  # TimeoutError is one
            if ready[0].status == "error":
                raise
            return
        ready.popleft()
        yield result


def _run_task(task: Task, function: Callable[[Task], Result], token: str, installation: dict[str, str]) -> Result:
    """Run a task in a worker, for the command of `token`.

    Raises UserError where this worker, which may have come late, has other versions than the command's `installation`.
    """
    from distributed import get_worker

    _check_versions(f"worker {get_worker().address}", _describe_installation_once(), installation)
    _commands.append(token)
    try:
        return function(task)
    finally:
        _commands.remove(token)


def _end_tasks(token: str) -> None:
    """In a worker: end the sandboxes, unless they may be another command's."""
    if set(_commands) == {token}:
        with cancel_sandboxes():
            pass


def is_wanted() -> bool:
    """Whether a command still waits for what this thread of a worker computes; True outside of workers."""
    if not _commands:
        return True
    from distributed import get_worker

    worker = get_worker()
    task = worker.state.tasks.get(worker.get_current_task())
    return task is not None and task.state != "cancelled"


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
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # a lost connection is one line here
    try:
        client = Client(address, timeout=CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise UserError(f"--scheduler {address}: no dask scheduler can be reached there ({error})") from None
    with client:
        try:
            client.wait_for_workers(1, timeout=WORKER_TIMEOUT_S)
        except TimeoutError:
            raise UserError(f"--scheduler {address}: no worker within {WORKER_TIMEOUT_S} s; {START_HINT}") from None
        except OSError:
            raise _connection_lost(address) from None
        try:
            _check_workers(client)
            yield client
        except (FutureCancelledError, CommClosedError):
            raise _connection_lost(address) from None


def _connection_lost(address: str) -> UserError:
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
    """Raise UserError that names a worker with other versions than this process has, or without the project."""
    ours = describe_installation()
    try:
        python = client.run_on_scheduler(platform.python_version)
        by_worker = client.run(describe_installation)
    except ImportError as error:
        raise UserError(f"a worker cannot import the project ({error}); {START_HINT}") from None
    except OSError as error:
        raise UserError(f"no worker's versions can be asked for ({error}); run the same command again") from None
    _check_versions("the scheduler", {"python": python}, {"python": ours["python"]})
    for worker, theirs in by_worker.items():
        _check_versions(f"worker {worker}", theirs, ours)


def _check_versions(where: str, theirs: dict[str, str], ours: dict[str, str]) -> None:
    differing = [f"{name} {theirs.get(name)} (here {own})" for name, own in ours.items() if theirs.get(name) != own]
    if differing:
        raise UserError(f"{where} has {', '.join(differing)}: install the same there")


_describe_installation_once = cache(describe_installation)
