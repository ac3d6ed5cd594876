"""Tasks side by side, by joblib: in threads of this process, which drive sandboxes, or on a dask cluster."""

import threading
import warnings
from collections.abc import Callable, Generator, Iterable
from typing import Generic, TypeVar

from core.sandbox import cancel_sandboxes

Task = TypeVar("Task")
Result = TypeVar("Result")
CANCEL_TIMEOUT_S = 1.5
"""How long an interrupted command waits for its threads."""


class _Counted(Generic[Task, Result]):
    """A function that knows how many threads are in it."""

    def __init__(self, function: Callable[[Task], Result]) -> None:
        self.function, self.n_running, self.changed = function, 0, threading.Condition()

    def __call__(self, task: Task) -> Result:
        with self.changed:
            self.n_running += 1
        try:
            return self.function(task)
        finally:
            with self.changed:
                self.n_running -= 1
                self.changed.notify_all()

    def wait_until_idle(self) -> None:
        with self.changed:
            self.changed.wait_for(lambda: not self.n_running, CANCEL_TIMEOUT_S)


def run_parallel(
    function: Callable[[Task], Result], tasks: Iterable[Task], n_jobs: int, scheduler: str | None = None
) -> Generator[Result]:
    """Yield `function(task)` for each task, in the order in which they end.

    In `n_jobs` threads, or on the workers of the dask cluster whose `scheduler` address is given. Raises what a task
    raises. Whatever ends this early, Ctrl-C among it, ends the sandboxes and so their tasks: use it within
    contextlib.closing.
    """
    if scheduler:
        yield from _run_on_cluster(function, tasks, scheduler)
        return
    from joblib import Parallel, delayed  # sandboxes import this module too, and would start later for it

    counted = _Counted(function)
    parallel = Parallel(n_jobs, backend="threading", return_as="generator_unordered", batch_size=1)
    results = parallel(delayed(counted)(task) for task in tasks)
    try:
        for result in results:  # noqa: UP028 (an early end must reach this function before joblib)
            yield result
    except BaseException:
        with cancel_sandboxes(), warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # joblib's, of results that nobody took
            results.close()
            counted.wait_until_idle()
        raise


def _run_on_cluster(function: Callable[[Task], Result], tasks: Iterable[Task], scheduler: str) -> Generator[Result]:
    """`run_parallel` on a cluster; a worker that is lost costs the time of its tasks, which another one does again."""
    from joblib import Parallel, delayed, parallel_config

    from core.cluster import connect

    with connect(scheduler) as client, parallel_config("dask", client=client):
        parallel = Parallel(n_jobs=-1, return_as="generator_unordered", batch_size=1)
        yield from parallel(delayed(function)(task) for task in tasks)
