"""Tasks in child processes: what they yield and raise, how they may end, and that nothing is left of them."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import psutil
import pytest

from core import sandbox as module
from core.errors import UserError
from core.sandbox import (
    Cancelled,
    SandboxError,
    SandboxLimits,
    TaskError,
    cancel_sandboxes,
    report_progress,
    run_isolated,
    start_sandboxes,
)
from tests.core import sandbox_tasks as tasks
from tests.processes import is_running

ROOT = Path(__file__).parents[2]
LIMITS = SandboxLimits()
STALL_S = 0.5
"""Longer than a warm sandbox takes for a step, on a busy machine."""
PARENT = """
import sys
from core.sandbox import SandboxLimits, run_isolated
from tests.core import sandbox_tasks as tasks

for item in run_isolated(getattr(tasks, sys.argv[1]), limits=SandboxLimits()):
    print(item, flush=True)
"""


@pytest.fixture(autouse=True)
def no_sandboxes() -> Iterator[None]:
    """Begin and end without any."""
    with cancel_sandboxes():
        pass
    yield
    with cancel_sandboxes():
        pass
    assert not child_processes()


def child_processes() -> list[psutil.Process]:
    """Children of this process that have not ended."""
    return [each for each in psutil.Process().children(recursive=True) if is_running(each)]


def wait_until(condition: Callable[[], bool], timeout_s: float = 5) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def run(function: Callable[..., Any], *arguments: Any, limits: SandboxLimits = LIMITS) -> list[Any]:
    return list(run_isolated(function, *arguments, limits=limits))


def pid_of_idle() -> int:
    (pid,) = run(tasks.yield_pid)
    return int(pid)


def open_files() -> int:
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208


def test_items_come_in_order() -> None:
    assert run(tasks.yield_words) == tasks.WORDS


def test_a_child_gets_the_environment_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OF_A_TEST", "here")
    assert run(tasks.yield_environment, "OF_A_TEST") == ["here"]
    assert run(tasks.yield_environment, "OMP_NUM_THREADS") == ["1"]
    assert run(tasks.yield_environment, "OMP_NUM_THREADS", limits=SandboxLimits(n_threads=3)) == ["3"]


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a value", 3),
        FileNotFoundError(2, "No such file", "a.wav"),
        tasks.TwoPartError("a", 1),
        EOFError("the end"),
        ConnectionResetError(104, "of a network disk"),
    ],
)
def test_exceptions_of_a_task_keep_their_type_and_cost_no_sandbox(error: Exception) -> None:
    pid = pid_of_idle()
    with pytest.raises(type(error)) as caught:
        run(tasks.raise_error, error)
    assert type(caught.value) is type(error)
    assert (caught.value.args, vars(caught.value)) == (error.args, vars(error))
    assert pid_of_idle() == pid


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("local class", "LocalError: of a function"),
        ("fails when unpickled", "UnpicklableError: number 3"),
        ("unpicklable part", "ValueError: <function"),
    ],
)
def test_exceptions_that_cannot_be_pickled_become_words(kind: str, text: str) -> None:
    with pytest.raises(TaskError, match=text):
        run(tasks.raise_unpicklable, kind)


def test_items_and_tasks_that_cannot_be_pickled_are_errors() -> None:
    items = run_isolated(tasks.yield_unpicklable, limits=LIMITS)
    assert next(items) == "before"
    with pytest.raises(Exception, match=r"(pickle|get) local object"):
        next(items)
    with pytest.raises(Exception, match=r"(pickle|get) local object"):
        run(lambda: iter([]))
    assert run(tasks.yield_words) == tasks.WORDS


def test_a_task_that_the_child_cannot_import_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "only_here.py").write_text("def yield_one():\n    yield 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    import only_here  # type: ignore[import-not-found]

    with pytest.raises(ModuleNotFoundError, match="only_here"):
        run(only_here.yield_one)


@pytest.mark.parametrize(
    ("how", "reason", "transient"),
    [
        ("SIGSEGV", "it ended its process (SIGSEGV)", False),
        ("abort", "it ended its process (SIGABRT)", False),
        ("_exit", "it ended its process (exit status 3)", False),
        ("sys.exit", "it ended its process (exit status 4)", False),
        ("SIGKILL", "it ended its process (SIGKILL)", True),
        ("SIGTERM", "it ended its process (SIGTERM)", True),
    ],
)
def test_a_task_that_ends_its_process_is_told_with_its_way(how: str, reason: str, transient: bool) -> None:
    items = run_isolated(tasks.yield_then_die, how, limits=LIMITS)
    assert next(items) == "begun"
    with pytest.raises(SandboxError) as caught:
        next(items)
    assert (str(caught.value), caught.value.reason, caught.value.transient) == (reason, reason, transient)
    assert run(tasks.yield_words) == tasks.WORDS


def test_a_child_that_dies_within_an_item_is_a_dead_child(tmp_path: Path) -> None:
    items = run_isolated(tasks.die_within_an_item, str(tmp_path / "died"), limits=LIMITS)
    assert next(items) == b"small"
    wait_until(lambda: not child_processes())
    assert [len(item) for item in items] == [1 << 24]


@pytest.mark.parametrize("function", [tasks.hang, tasks.hang_in_python])
def test_a_task_that_hangs_is_ended(function: Callable[..., Any]) -> None:
    items = run_isolated(function, limits=LIMITS, stall_timeout_s=STALL_S)
    with pytest.raises(SandboxError, match=r"it hung: no progress for 0\.5 s") as caught:
        list(items)
    assert caught.value.transient
    assert not child_processes()


def test_progress_keeps_a_slow_task_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "N_ATTEMPTS", 1)
    pid_of_idle()
    arguments = (4, STALL_S / 2)
    slow = run_isolated(tasks.work_slowly, *arguments, True, limits=LIMITS, stall_timeout_s=STALL_S)
    assert list(slow) == ["done"]
    silent = run_isolated(tasks.work_slowly, *arguments, False, limits=LIMITS, stall_timeout_s=STALL_S)
    with pytest.raises(SandboxError, match="it hung"):
        list(silent)


def test_a_reader_may_take_its_time() -> None:
    items = run_isolated(tasks.yield_words, limits=LIMITS, stall_timeout_s=STALL_S)
    assert next(items) == "one"
    time.sleep(1.5 * STALL_S)
    assert list(items) == ["two", "three"]


def test_progress_is_reported_by_sandboxes_alone() -> None:
    report_progress()


def test_a_task_that_needs_too_much_memory_is_told_and_costs_no_other() -> None:
    limits = SandboxLimits(max_memory_bytes=1 << 29)
    with pytest.raises(SandboxError, match="it needs more memory than its process may use") as caught:
        run(tasks.use_memory, 1 << 30, limits=limits)
    assert caught.value.transient
    assert run(tasks.use_memory, 1 << 27, limits=limits) == [1 << 27]
    assert run(tasks.use_memory, 1 << 30) == [1 << 30]


@pytest.mark.parametrize("error", [MemoryError("too much"), tasks.OutOfMemoryError("CUDA out of memory")])
def test_want_of_memory_is_transient(error: Exception) -> None:
    with pytest.raises(SandboxError, match="it needs more memory") as caught:
        run(tasks.raise_error, error)
    assert caught.value.transient


@pytest.mark.parametrize("max_memory_bytes", [None, 1 << 40])
def test_a_limit_of_the_user_s_own_stays(max_memory_bytes: int | None) -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_DATA, (1 << 31, 1 << 31)); "
        "from core.sandbox import SandboxLimits, run_isolated; from tests.core import sandbox_tasks as tasks; "
        f"limits = SandboxLimits({max_memory_bytes}); print(*run_isolated(tasks.yield_words, limits=limits))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("one two three\n", "")


def test_where_memory_cannot_be_limited_tasks_run(monkeypatch: pytest.MonkeyPatch) -> None:
    refuse = "import resource\ndef refuse(*_): raise ValueError\nresource.setrlimit = refuse\n"
    monkeypatch.setattr(module, "MAIN", refuse + module.MAIN)
    assert run(tasks.yield_words) == tasks.WORDS


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_what_ends_a_sandbox_is_tried_once_more_and_no_item_comes_twice(tmp_path: Path, dies_after: int) -> None:
    assert run(tasks.die_at_first, "SIGSEGV", str(tmp_path / "died"), dies_after) == tasks.WORDS


def test_a_task_is_transient_if_one_of_its_ends_was(tmp_path: Path) -> None:
    for first, then, transient in (("SIGKILL", "SIGSEGV", True), ("SIGSEGV", "SIGSEGV", False)):
        with pytest.raises(SandboxError, match="SIGSEGV") as caught:
            run(tasks.die_differently, str(tmp_path / first), first, then)
        assert caught.value.transient == transient


def test_idle_sandboxes_are_used_again_by_tasks_of_their_limits() -> None:
    pid = pid_of_idle()
    assert pid_of_idle() == pid
    assert run(tasks.yield_pid, limits=SandboxLimits(n_threads=2)) != [pid]
    assert pid_of_idle() == pid
    assert len(child_processes()) == 2


def test_sandboxes_that_were_started_early_are_used() -> None:
    start_sandboxes(2, LIMITS, tasks.__name__)
    pids = {process.pid for process in child_processes()}
    assert len(pids) == 2
    assert {pid_of_idle(), pid_of_idle()} <= pids


def test_a_sandbox_that_cannot_import_its_module_is_a_dead_child() -> None:
    start_sandboxes(1, LIMITS, "no_such_module")
    (process,) = child_processes()
    process.wait(10)
    assert pid_of_idle() != process.pid


def test_a_run_that_is_not_read_to_its_end_ends_its_child() -> None:
    with closing(run_isolated(tasks.yield_forever, limits=LIMITS)) as items:
        pid = next(items)
        assert next(items) == pid
    assert not child_processes()
    assert pid_of_idle() != pid


def test_ctrl_c_is_the_parent_s_to_handle() -> None:
    with closing(run_isolated(tasks.yield_forever, limits=LIMITS)) as items:
        pid = next(items)
        os.kill(pid, signal.SIGINT)
        time.sleep(0.1)
        assert {next(items) for _ in range(10_000)} == {pid}


def test_decoders_complain_to_nobody_unless_wanted(capfd: pytest.CaptureFixture[str]) -> None:
    run(tasks.print_to_stderr, "quiet")
    run(tasks.print_to_stderr, "loud", limits=SandboxLimits(quiet=False))
    assert capfd.readouterr().err == "loud"


def test_sandboxes_that_died_idle_are_passed_over() -> None:
    both = [run_isolated(tasks.yield_pid, limits=LIMITS) for _ in range(2)]
    pids = {next(items) for items in both}
    assert [list(items) for items in both] == [[], []]
    assert {each.pid for each in child_processes()} == pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not child_processes())
    assert run(tasks.yield_words) == tasks.WORDS


def test_waiting_readers_are_told_that_all_is_cancelled() -> None:
    caught: list[BaseException] = []
    begun = threading.Barrier(4)

    def read() -> None:
        try:
            for _ in run_isolated(tasks.hang, limits=LIMITS):
                begun.wait()
        except BaseException as error:
            caught.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    begun.wait()
    pid_of_idle()
    with cancel_sandboxes():
        for thread in threads:
            thread.join(timeout=5)
        assert [type(error) for error in caught] == [Cancelled] * 3
        with pytest.raises(Cancelled):
            run(tasks.yield_words)
        wait_until(lambda: not child_processes())
    assert run(tasks.yield_words) == tasks.WORDS


@pytest.mark.parametrize("function", [tasks.hang, tasks.yield_forever])
def test_a_reader_whose_event_is_set_is_told(function: Callable[..., Any]) -> None:
    cancelled = threading.Event()
    items = run_isolated(function, limits=LIMITS, cancelled=cancelled)
    next(items)
    threading.Timer(0.1, cancelled.set).start()
    began = time.monotonic()
    with pytest.raises(Cancelled):
        all(items)
    assert time.monotonic() - began < 2
    assert not child_processes()
    assert run(tasks.yield_words) == tasks.WORDS


def test_sandboxes_that_end_leave_no_file_open() -> None:
    def end_in_all_ways() -> None:
        pid_of_idle()
        with pytest.raises(SandboxError):
            run(tasks.yield_then_die, "SIGSEGV")
        next(run_isolated(tasks.yield_forever, limits=LIMITS))
        pid_of_idle()
        with cancel_sandboxes(), pytest.raises(Cancelled):
            run(tasks.yield_words)

    end_in_all_ways()
    before = open_files()
    end_in_all_ways()
    assert open_files() == before


@pytest.mark.parametrize(("lacking", "n_had"), [("Pipe", 0), ("Pipe", 1), ("subprocess.Popen", 0)])
def test_a_process_that_cannot_be_had_is_an_error_in_a_line(
    monkeypatch: pytest.MonkeyPatch, lacking: str, n_had: int
) -> None:
    had = [Pipe() for _ in range(n_had)]

    def refuse(*_: Any, **__: Any) -> Any:
        if had:
            return had.pop()
        raise BlockingIOError(11, "Resource temporarily unavailable")

    before = open_files() - 2 * n_had
    with monkeypatch.context() as short, pytest.raises(UserError, match=r"no process can be started \(Resource temp"):
        short.setattr(f"core.sandbox.{lacking}", refuse)
        run(tasks.yield_words)
    assert open_files() == before
    assert run(tasks.yield_words) == tasks.WORDS


@pytest.mark.parametrize("task", ["hang", "hang_in_python", "ignore_signals_and_hang"])
def test_a_child_ends_when_its_parent_is_killed(task: str) -> None:
    parent = subprocess.Popen([sys.executable, "-c", PARENT, task], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout and parent.stdout.readline() == "begun\n"
        (child,) = psutil.Process(parent.pid).children()
        time.sleep(0.1)  # so that it is in C code
        parent.kill()
    wait_until(lambda: not is_running(child))


def test_idle_children_end_with_their_parent_and_without_a_word() -> None:
    code = (
        "from core.sandbox import SandboxLimits, run_isolated; from tests.core import sandbox_tasks as tasks; "
        "print(*run_isolated(tasks.yield_pid, limits=SandboxLimits()))"
    )
    command = [sys.executable, "-X", "dev", "-W", "error", "-c", code]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert (ended.returncode, ended.stderr) == (0, "")
    wait_until(lambda: not psutil.pid_exists(int(ended.stdout)) or not is_running(psutil.Process(int(ended.stdout))))
