"""Child processes in which a task may crash, hang or ask for too much memory, at no cost to anything else.

A sandbox runs one task at a time, a function or a generator function. Items that it yields, and `report_progress`, show
that it has not hung. A sandbox ends when its parent does.
"""

import atexit
import fcntl
import os
import pickle
import resource
import select
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from itertools import islice
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from threading import Event, Lock
from typing import Any, ClassVar

from core.errors import UserError, is_out_of_memory

STALL_TIMEOUT_S = 60.0
"""A task without progress for so long has hung."""
N_ATTEMPTS = 2
PROGRESS_INTERVAL_S = 1.0
CANCEL_POLL_S, MAX_POLL_S = 0.1, 3600.0
KILL_SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
"""Signals from outside, also from a system that is out of memory: another time the task may succeed."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
ROOT = Path(__file__).parents[1]
MAIN = "from core.sandbox import main; main()"
"""Not -m: a child would send the exceptions of __main__, and not of this module."""


@dataclass(frozen=True)
class SandboxLimits:
    """What a sandbox may use."""

    max_memory_bytes: int | None = None
    """Private memory."""
    n_threads: int = 1
    quiet: bool = True
    """Whether standard error is closed: C decoders print messages about damaged files there."""


class SandboxError(Exception):
    """A task that ended its process, for a `reason` in words; `transient` where another time it may succeed."""

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

    def __init__(self, limits: SandboxLimits, module: str = "core.sandbox") -> None:
        self.cancelled = False
        max_bytes = limits.max_memory_bytes or resource.RLIM_INFINITY
        try:
            self._connection, connection = Pipe()
            alive, self._alive = Pipe(duplex=False)
            with connection, alive:
                files = [connection.fileno(), alive.fileno()]
                self.process = subprocess.Popen(
                    [sys.executable, "-c", MAIN, *map(str, files), str(max_bytes), module],
                    pass_fds=files,
                    cwd=ROOT,
                    env=os.environ | dict.fromkeys(THREAD_VARIABLES, str(limits.n_threads)),
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL if limits.quiet else None,
                )
        except OSError as error:
            reason = f"no process can be started ({error.strerror}): end what else runs, or lower --jobs"
            raise UserError(reason) from None

    def run(
        self, function: Callable[..., Any], *arguments: Any, stall_timeout_s: float, cancelled: Event | None = None
    ) -> Generator[Any]:
        """Yield what `function(*arguments)` yields, or returns, in the child; closing this early ends the child.

        Raises what the function raises, SandboxError where the child dies or yields nothing for so long, and Cancelled.
        """
        finished = False
        try:
            try:
                self._connection.send((function, arguments))
                while not finished:
                    self._wait(stall_timeout_s, cancelled)
                    kind, value = self._connection.recv()
                    finished = kind in ("result", "end", "error")
                    if kind in ("item", "result"):
                        yield value
            except (EOFError, OSError):  # the second where it dies while it sends
                raise Cancelled if self.cancelled else self._describe_death() from None
            if kind == "error":
                raise value
        finally:
            if not finished:
                self.close()

    def _wait(self, stall_timeout_s: float, cancelled: Event | None) -> None:
        """Wait until the child has sent something, or ended. Raises SandboxError where it has hung, and Cancelled."""
        deadline_s = time.monotonic() + stall_timeout_s
        poll_s = CANCEL_POLL_S if cancelled else min(stall_timeout_s, MAX_POLL_S)
        while not (cancelled and cancelled.is_set()):
            if self._connection.poll(poll_s):
                return
            if time.monotonic() >= deadline_s:
                raise SandboxError(f"it hung: no progress for {stall_timeout_s:g} s", transient=True)
        raise Cancelled

    def _describe_death(self) -> SandboxError:
        status = self.process.wait()
        how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
        return SandboxError(f"it ended its process ({how})", -status in KILL_SIGNALS)

    def close(self) -> None:
        """End the child."""
        self.process.kill()
        self.process.wait()
        self._connection.close()
        self._alive.close()


class _Pool:
    """The sandboxes of this process: busy ones, and idle ones by their limits."""

    lock = Lock()
    idle: ClassVar[dict[SandboxLimits, list[Sandbox]]] = defaultdict(list)
    busy: ClassVar[set[Sandbox]] = set()
    cancelled = False


@contextmanager
def borrow_sandbox(limits: SandboxLimits, *, fresh: bool = False) -> Iterator[Sandbox]:
    """Yield an idle sandbox, or a new one; afterwards it is idle, if it lives. Raises Cancelled."""
    with _Pool.lock:
        sandbox = _Pool.idle[limits].pop() if _Pool.idle[limits] and not fresh else None
    if sandbox and sandbox.process.poll() is not None:
        sandbox.close()
        sandbox = None
    sandbox = sandbox or Sandbox(limits)
    with _Pool.lock:
        _Pool.busy.add(sandbox)
        cancelled = _Pool.cancelled
    try:
        if cancelled:
            raise Cancelled
        yield sandbox
    finally:
        with _Pool.lock:
            _Pool.busy.discard(sandbox)
            is_usable = sandbox.process.poll() is None and not _Pool.cancelled
            if is_usable:
                _Pool.idle[limits].append(sandbox)
        if not is_usable:
            sandbox.close()


def start_sandboxes(n_sandboxes: int, limits: SandboxLimits, module: str) -> None:
    """Have so many idle sandboxes; new ones import a module of the tasks while this process goes on."""
    started = [Sandbox(limits, module) for _ in range(n_sandboxes - len(_Pool.idle[limits]))]
    with _Pool.lock:
        _Pool.idle[limits] += started


@contextmanager
def cancel_sandboxes() -> Iterator[None]:
    """End all sandboxes; within, tasks that run in one or want one raise Cancelled."""
    with _Pool.lock:
        _Pool.cancelled = True
        busy, idle = list(_Pool.busy), [each for some in _Pool.idle.values() for each in some]
        _Pool.idle.clear()
    for sandbox in busy:
        sandbox.cancelled = True
        sandbox.process.kill()  # the thread that reads from it closes it
    for sandbox in idle:
        sandbox.close()
    try:
        yield
    finally:
        _Pool.cancelled = False


@atexit.register
def _end_sandboxes() -> None:
    with cancel_sandboxes():
        pass


def run_isolated(
    function: Callable[..., Any],
    *arguments: Any,
    limits: SandboxLimits,
    stall_timeout_s: float = STALL_TIMEOUT_S,
    cancelled: Event | None = None,
) -> Generator[Any]:
    """Yield what `function(*arguments)` yields, or returns, in a sandbox. If the process dies, it is tried once more.

    The second time, the items that were yielded before are skipped: the function must yield the same again. Raises what
    the function raises, SandboxError, and Cancelled, also once the event `cancelled` is set.
    """
    n_yielded, transient = 0, False
    for attempt in range(1, N_ATTEMPTS + 1):
        try:
            with borrow_sandbox(limits, fresh=attempt > 1) as sandbox:  # what killed one may have killed the idle
                run = sandbox.run(function, *arguments, stall_timeout_s=stall_timeout_s, cancelled=cancelled)
                with closing(run) as items:
                    for item in islice(items, n_yielded, None):
                        n_yielded += 1
                        yield item
            return
        except SandboxError as error:
            transient = transient or error.transient
            if attempt == N_ATTEMPTS:
                raise SandboxError(error.reason, transient) from None


class _Progress:
    """Where this process reports progress, if it is a sandbox."""

    connection: Connection | None = None
    reported_s = 0.0


def report_progress() -> None:
    """Tell the parent that the task goes on; does nothing outside a sandbox."""
    if _Progress.connection and time.monotonic() - _Progress.reported_s >= PROGRESS_INTERVAL_S:
        _Progress.reported_s = time.monotonic()
        _Progress.connection.send(("progress", None))


def _run_task(connection: Connection, task: bytes) -> None:
    """Send what a function yields or returns, and how it ended. `task` is the function and its arguments, pickled."""
    try:
        function, arguments = pickle.loads(task)
        result = function(*arguments)
        if isinstance(result, Iterator):
            for item in result:
                connection.send(("item", item))
            connection.send(("end", None))
        else:
            connection.send(("result", result))
    except Exception as error:
        if is_out_of_memory(error):
            error = SandboxError("it needs more memory than its process may use", transient=True)
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = TaskError(f"{type(error).__name__}: {error}")
        connection.send(("error", error))


def _die_with_parent(alive: int) -> None:
    """Have the system end this process once the other end of a pipe is closed, even amid C code."""
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    if hasattr(fcntl, "F_SETSIG"):  # on Linux
        fcntl.fcntl(alive, fcntl.F_SETSIG, signal.SIGKILL)  # instead of SIGIO, which a task may ignore
    fcntl.fcntl(alive, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(alive, fcntl.F_SETFL, fcntl.fcntl(alive, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([alive], [], [], 0)[0]:  # it was closed before
        sys.exit(1)


def _limit_memory(max_bytes: int) -> None:
    """Let this process use so much private memory, or less where the user's own limits say so."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [limit for limit in (max_bytes, soft, hard) if limit != resource.RLIM_INFINITY]
    with suppress(ValueError):  # macOS refuses one below the size of what is mapped, and maps hundreds of GB
        resource.setrlimit(resource.RLIMIT_DATA, (min(limits, default=resource.RLIM_INFINITY), hard))


def main() -> None:
    """Run tasks from a connection.

    Arguments: its file descriptor, that of a pipe to the parent, bytes of memory, and a module to import.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(int(sys.argv[1]))
    _die_with_parent(int(sys.argv[2]))
    _limit_memory(int(sys.argv[3]))
    _Progress.connection = connection
    import_module(sys.argv[4])
    with suppress(EOFError, ConnectionError):
        while True:
            _run_task(connection, connection.recv_bytes())
