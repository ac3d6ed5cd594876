"""Child processes in which a task may crash, hang or ask for too much memory, at no cost to anything else.

A sandbox runs one task at a time, a function or a generator function. What it yields, and `report_progress`, show that
it has not hung. It ends when its parent does, whatever it is doing.
"""

import fcntl
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from core.errors import UserError, is_out_of_memory

STALL_TIMEOUT_S = 60.0
"""A task that yields nothing for so long has hung."""
N_ATTEMPTS = 2
PROGRESS_INTERVAL_S = 1.0
KILL_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Sent from outside, the system's for want of memory among them: another time the task may end well."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class SandboxLimits:
    """What a sandbox may use."""

    max_memory_bytes: int | None = None
    """Of private memory."""
    n_threads: int = 1
    quiet: bool = True
    """Whether standard error is closed: decoders written in C complain there of damaged files."""


class SandboxError(Exception):
    """A task that ended its process: the `reason` in words; `transient` where another time it may end well."""

    def __init__(self, reason: str, transient: bool) -> None:
        super().__init__(reason, transient)
        self.reason, self.transient = reason, transient

    def __str__(self) -> str:
        return self.reason


class TaskError(Exception):
    """An exception of a task, in words: its own type is not known here."""


class Cancelled(Exception):
    """The task was stopped together with all sandboxes."""


class Sandbox:
    """A child process that runs functions, one after the other."""

    def __init__(self, limits: SandboxLimits) -> None:
        self.limits = limits
        self._connection, theirs = Pipe()
        alive, self._alive = os.pipe()
        max_bytes = str(limits.max_memory_bytes or resource.RLIM_INFINITY)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "core.sandbox", str(theirs.fileno()), str(alive), max_bytes],
                pass_fds=[theirs.fileno(), alive],
                cwd=ROOT,
                env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(limits.n_threads)),
                stdin=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL if limits.quiet else None,
            )
        except OSError as error:
            self._connection.close()
            os.close(self._alive)
            raise UserError(
                f"no process can be started ({error.strerror}): end what else runs, or lower --jobs"
            ) from None
        finally:
            theirs.close()
            os.close(alive)

    def run(self, function: Callable[..., Any], *arguments: Any, stall_timeout_s: float) -> Iterator[Any]:
        """Yield what `function(*arguments)` yields, or returns, in the child, which an unread rest ends.

        Raises what the function raises, and SandboxError where the child dies or yields nothing for so long.
        """
        finished = False
        try:
            try:
                self._connection.send((function, arguments))
                while not finished:
                    if not self._connection.poll(stall_timeout_s):
                        raise SandboxError(f"it hung: no progress for {stall_timeout_s:g} s", transient=True)
                    kind, value = self._connection.recv()
                    finished = kind in ("end", "error")
                    if kind == "item":
                        yield value
            except (EOFError, ConnectionError):
                raise self._describe_death() from None
            if kind == "error":
                raise value
        finally:
            if not finished:
                self.close()

    def _describe_death(self) -> SandboxError:
        status = self.process.wait()
        if status < 0:
            return SandboxError(f"it ended its process ({signal.Signals(-status).name})", -status in KILL_SIGNALS)
        return SandboxError(f"it ended its process (exit status {status})", transient=False)

    def close(self) -> None:
        """End the child."""
        self.process.kill()
        self.process.wait()
        self._connection.close()
        with suppress(OSError):
            os.close(self._alive)


class _Pool:
    """The sandboxes of this process: those at work, and those that wait for a task with the same limits."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.idle: dict[SandboxLimits, list[Sandbox]] = defaultdict(list)
        self.busy: set[Sandbox] = set()
        self.cancelled = False


_pool = _Pool()


@contextmanager
def borrow_sandbox(limits: SandboxLimits) -> Iterator[Sandbox]:
    """A sandbox that is idle, or a new one; afterwards it is idle again, if it lives. Raises Cancelled."""
    with _pool.lock:
        sandbox = _pool.idle[limits].pop() if _pool.idle[limits] else None
    sandbox = sandbox or Sandbox(limits)
    with _pool.lock:
        _pool.busy.add(sandbox)
        cancelled = _pool.cancelled
    try:
        if cancelled:
            sandbox.close()
            raise Cancelled
        yield sandbox
    finally:
        with _pool.lock:
            _pool.busy.discard(sandbox)
            if sandbox.process.poll() is None and not _pool.cancelled:
                _pool.idle[limits].append(sandbox)


@contextmanager
def cancel_sandboxes() -> Iterator[None]:
    """End all sandboxes; within, whoever waits for one or wants another is told by Cancelled."""
    with _pool.lock:
        _pool.cancelled = True
        sandboxes = [*_pool.busy, *(each for some in _pool.idle.values() for each in some)]
        _pool.idle.clear()
    for sandbox in sandboxes:
        sandbox.process.kill()  # its reader closes what is left of it
    try:
        yield
    finally:
        _pool.cancelled = False


def run_isolated(
    function: Callable[..., Any],
    *arguments: Any,
    limits: SandboxLimits,
    stall_timeout_s: float = STALL_TIMEOUT_S,
) -> Iterator[Any]:
    """Yield what `function(*arguments)` yields, or returns, in a sandbox; one that dies is tried again.

    The second time, what was yielded before is passed over: the function must yield the same again. Raises what the
    function raises, SandboxError, and Cancelled.
    """
    n_yielded = 0
    for attempt in range(1, N_ATTEMPTS + 1):
        try:
            with borrow_sandbox(limits) as sandbox:
                items = sandbox.run(function, *arguments, stall_timeout_s=stall_timeout_s)
                try:
                    for index, item in enumerate(items):
                        if index >= n_yielded:
                            n_yielded += 1
                            yield item
                finally:
                    items.close()  # type: ignore[attr-defined]
            return
        except SandboxError:
            if _pool.cancelled:
                raise Cancelled from None
            if attempt == N_ATTEMPTS:
                raise


class _Progress:
    """Where this process reports progress, if it is a sandbox."""

    connection: Connection | None = None
    reported_s = 0.0


def report_progress() -> None:
    """Tell the parent that the task goes on; does nothing outside a sandbox."""
    if _Progress.connection and time.monotonic() - _Progress.reported_s >= PROGRESS_INTERVAL_S:
        _Progress.reported_s = time.monotonic()
        _Progress.connection.send(("progress", None))


def _run_task(connection: Connection, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Send what a function yields or returns, and how it ended."""
    try:
        result = function(*arguments)
        for item in result if isinstance(result, Iterator) else [result]:
            connection.send(("item", item))
        connection.send(("end", None))
    except ConnectionError:
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            error = SandboxError("it needs more memory than its process may use", transient=True)
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = TaskError(f"{type(error).__name__}: {error}")
        connection.send(("error", error))


def _die_with_parent(alive: int) -> None:
    """Have the system end this process once the other end of a pipe is closed, even amid C code."""
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)  # SIGIO, which ends a process
    if select.select([alive], [], [], 0)[0]:  # it was closed before
        sys.exit(1)


def main() -> None:
    """Run tasks from a connection. Arguments: its file descriptor, that of a pipe to the parent, bytes of memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(int(sys.argv[1]))
    _die_with_parent(int(sys.argv[2]))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (int(sys.argv[3]), hard))
    _Progress.connection = connection
    with suppress(EOFError, ConnectionError):
        while True:
            _run_task(connection, *connection.recv())


if __name__ == "__main__":
    from core import sandbox  # by its own name, so that its exceptions are those of the parent

    sandbox.main()
