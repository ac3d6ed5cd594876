"""Tasks side by side: in threads of this process, which drive sandboxes, by joblib, or on a dask cluster."""

import math
import multiprocessing
import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Any, TypeVar

from core.errors import UserError
from core.sandbox import SandboxError, SandboxLimits, cancel_sandboxes, run_isolated

Task = TypeVar("Task")
Result = TypeVar("Result")
CANCEL_TIMEOUT_S = 1.5
"""How long an interrupted command waits for its threads."""


def run_parallel(
    function: Callable[[Task], Result], tasks: Iterable[Task], n_jobs: int, scheduler: str | None = None
) -> Generator[Result]:
    """Yield `function(task)` for each task, in the order in which they end.

    They run in `n_jobs` threads, or on the workers of the dask cluster at the `scheduler` address, where another worker
    repeats the tasks of a lost one. Raises what a task raises. An early end, as by Ctrl-C, ends the sandboxes and so
    the tasks: use this within contextlib.closing.
    """
    if scheduler:
        from core.cluster import run_on_cluster

        yield from run_on_cluster(function, tasks, scheduler)
        return
    _check_semaphores()
    from joblib import Parallel, delayed  # sandboxes import this module too, and do not need it

    n_running, changed = 0, threading.Condition()

    def run_counted(task: Task) -> Result:
        nonlocal n_running
        with changed:
            n_running += 1
        try:
            return function(task)
        finally:
            with changed:
                n_running -= 1
                changed.notify_all()

    parallel = Parallel(n_jobs, backend="threading", return_as="generator_unordered", batch_size=1)
    results = parallel(delayed(run_counted)(task) for task in tasks)
    try:
        for result in results:  # noqa: UP028 (`yield from` would close the results before the sandboxes are cancelled)
            yield result
    except BaseException:
        with cancel_sandboxes(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of joblib, about results that nobody took
            results.close()
            with changed:
                changed.wait_for(lambda: not n_running, CANCEL_TIMEOUT_S)
        raise


def _check_semaphores() -> None:
    """Raise UserError where the system gives no semaphore, which joblib's threads need."""
    try:
        multiprocessing.Lock()
    except OSError as error:
        raise UserError(
            f"/dev/shm: {error.strerror}: make room there (df -h /dev/shm), or mount it (a container: --shm-size)"
        ) from None


def run_sandboxed(function: Callable[..., Result], tasks: Iterable[tuple[Any, ...]], n_jobs: int) -> Generator[Result]:
    """Yield `function(*task)` for each task, in the order in which they end, each computed by a sandbox on one core.

    Raises what a task raises, and UserError where one ends its process, twice. Use this within contextlib.closing.
    """

    def run(task: tuple[Any, ...]) -> Result:
        (result,) = run_isolated(function, *task, limits=SandboxLimits(quiet=False), stall_timeout_s=math.inf)
        return result

    try:
        yield from run_parallel(run, tasks, n_jobs)
    except SandboxError as error:
        raise UserError(f"a process failed twice: {error}; run the same command again, or with fewer --jobs") from None
