"""Tasks side by side: each result once, and an end of all at an error, Ctrl-C, or a reader that goes."""

import errno
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from typing import NoReturn

import pytest

from core.errors import UserError
from core.parallel import run_parallel, run_sandboxed
from core.sandbox import Cancelled, SandboxError, SandboxLimits, run_isolated
from tests.core import sandbox_tasks as tasks
from tests.processes import running_children

LIMITS = SandboxLimits()
MAX_CANCEL_S = 2.0
CTRL_C_AFTER_S = 0.3
both = pytest.mark.parametrize("n_jobs", [1, 3])


@pytest.fixture(autouse=True)
def quiet(recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    """Nothing warns or prints."""
    yield
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def square(number: int) -> int:
    time.sleep(0.01 * (number % 3))
    return number**2


def isolated_length(number: int) -> int:
    """In a sandbox."""
    return sum(run_isolated(tasks.use_memory, number, limits=LIMITS))


def hang(_: int) -> list[str]:
    return list(run_isolated(tasks.hang, limits=LIMITS))


def works_again(n_jobs: int) -> bool:
    return sorted(run_parallel(isolated_length, range(5), n_jobs)) == list(range(5))


@both
@pytest.mark.parametrize("n_tasks", [0, 1, 50])
def test_each_result_comes_once(n_jobs: int, n_tasks: int) -> None:
    results = list(run_parallel(square, range(n_tasks), n_jobs))
    assert sorted(results) == [number**2 for number in range(n_tasks)]


def test_results_come_as_they_end() -> None:
    ended = threading.Event()

    def wait_for_the_other(number: int) -> int:
        if number:
            ended.set()
        assert ended.wait(10)
        return number

    assert list(run_parallel(wait_for_the_other, range(2), 3)) == [1, 0]


@both
def test_no_more_run_side_by_side_than_asked_for(n_jobs: int) -> None:
    lock, running, highest = threading.Lock(), 0, 0

    def count(_: int) -> None:
        nonlocal running, highest
        with lock:
            running += 1
            highest = max(highest, running)
        time.sleep(0.02)
        with lock:
            running -= 1

    assert len(list(run_parallel(count, range(12), n_jobs))) == 12
    assert highest == n_jobs


@both
def test_tasks_are_made_as_they_are_wanted(n_jobs: int) -> None:
    made = []

    def make() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    with closing(run_parallel(square, make(), n_jobs)) as results:
        next(results)
        assert len(made) < 20


@both
def test_tasks_run_in_sandboxes(n_jobs: int) -> None:
    assert works_again(n_jobs)
    assert len(running_children()) <= n_jobs + 3  # those of the tests before wait as well


@both
@pytest.mark.parametrize("error", [ValueError("of a task"), SandboxError("it hung", True)])
def test_an_exception_of_a_task_reaches_the_reader_and_ends_the_others(n_jobs: int, error: Exception) -> None:
    started = threading.Event()

    def fail_beside_hanging(number: int) -> list[str]:
        if number == (0 if n_jobs == 1 else 2):
            assert n_jobs == 1 or started.wait(10)
            raise error
        items = run_isolated(tasks.hang, limits=LIMITS)
        next(items)
        started.set()
        return list(items)

    began = time.monotonic()
    with pytest.raises(type(error), match=str(error)):
        list(run_parallel(fail_beside_hanging, range(10), n_jobs))
    assert time.monotonic() - began < 10
    assert not running_children()
    assert works_again(n_jobs)


@both
def test_an_exception_that_a_sandbox_raises_keeps_its_type(n_jobs: int) -> None:
    def fail(number: int) -> list[NoReturn]:
        return list(run_isolated(tasks.raise_error, tasks.TwoPartError("a", number), limits=LIMITS))

    with pytest.raises(tasks.TwoPartError):
        list(run_parallel(fail, range(3), n_jobs))


@both
def test_an_exception_while_tasks_are_made_reaches_the_reader(n_jobs: int) -> None:
    def make() -> Iterator[int]:
        yield 1
        raise ValueError("of the maker")

    with pytest.raises(ValueError, match="of the maker"):
        list(run_parallel(square, make(), n_jobs))


@both
@pytest.mark.parametrize("n_good", [0, 2])
def test_ctrl_c_ends_tasks_that_hang(n_jobs: int, n_good: int) -> None:
    """While the reader waits for the first result, and for one after others."""
    interrupt = threading.Timer(CTRL_C_AFTER_S, os.kill, [os.getpid(), signal.SIGINT])
    interrupt.start()
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        list(run_parallel(lambda number: hang(number) if number >= n_good else [], range(10), n_jobs))
    assert time.monotonic() - began < CTRL_C_AFTER_S + MAX_CANCEL_S
    interrupt.join()
    assert not running_children()
    assert works_again(n_jobs)


@both
def test_a_reader_that_stops_ends_the_rest(n_jobs: int) -> None:
    n_read = 1
    began = time.monotonic()
    with closing(run_parallel(lambda number: hang(number) if number >= n_read else [], range(10), n_jobs)) as results:
        assert next(results) == []
        time.sleep(0.3)  # so that the others hang
    assert time.monotonic() - began < 0.3 + MAX_CANCEL_S
    assert not running_children()
    assert works_again(n_jobs)


def test_an_interrupt_of_the_reader_s_own_work_ends_the_rest() -> None:
    def read() -> None:
        with closing(run_parallel(lambda number: hang(number) if number else [], range(10), 3)) as results:
            for _ in results:
                time.sleep(0.3)
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        read()
    assert not running_children()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.ENOENT, errno.EROFS])
def test_shared_memory_that_is_full_or_missing_is_named(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    def fail() -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(multiprocessing, "Lock", fail)
    with pytest.raises(UserError, match=rf"/dev/shm: {os.strerror(number)}: make room there"):
        list(run_parallel(square, range(3), 2))


@both
def test_functions_run_in_sandboxes(n_jobs: int) -> None:
    with closing(run_sandboxed(tasks.join_pid, [("a", number) for number in range(5)], n_jobs)) as results:
        words, pids = zip(*results, strict=True)
    assert sorted(words) == [f"a{number}" for number in range(5)]
    assert os.getpid() not in pids


def test_a_function_that_ends_its_sandbox_twice_is_an_error_in_a_line() -> None:
    with pytest.raises(UserError, match=r"a process failed twice: it ended its process \(SIGSEGV\); run the same"):
        list(run_sandboxed(tasks.die, [("SIGSEGV",)], 1))
    with pytest.raises(tasks.TwoPartError):
        list(run_sandboxed(tasks.raise_now, [(tasks.TwoPartError("a", 1),)], 1))


def test_two_readers_at_once_are_told_when_one_ends_all() -> None:
    """Sandboxes belong to the process: who ends them ends those of others too, which are told."""
    caught: list[BaseException] = []

    def read() -> None:
        try:
            list(run_parallel(hang, range(3), 3))
        except BaseException as error:
            caught.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    time.sleep(0.3)
    with closing(run_parallel(square, range(10), 3)) as results:
        next(results)
    thread.join(timeout=5)
    assert [type(error) for error in caught] == [Cancelled]
