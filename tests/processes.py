"""Commands that tests stop, and what is left of them."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress

import psutil

BUSY = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
"""How many times slower than alone everything may be here."""
STOP_S = 2.0 * BUSY
"""A command that is told to stop says its last word after so long; then PyTorch takes a while to be unloaded."""
DEATH_S = 5.0 * BUSY
"""What a killed command leaves has ended after so long."""
START_S = 60.0 * BUSY
"""On a busy machine a command has begun its work after so long."""
EXIT_STATUS = {signal.SIGKILL: -9, signal.SIGINT: 130, signal.SIGTERM: 143}


def children_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def sandboxes_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The sandboxes among its children: imports start others for a moment."""
    found = []
    for child in children_of(process):
        with suppress(psutil.NoSuchProcess):  # also where it is a zombie
            if any("core.sandbox" in argument for argument in child.cmdline()):
                found.append(child)
    return found


def is_running(process: psutil.Process) -> bool:
    """Whether a process has not ended; whoever adopted it may not have asked for its exit status yet."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def running_children() -> list[psutil.Process]:
    """The children of this process that have not ended."""
    return [child for child in psutil.Process().children() if is_running(child)]


def all_ended(processes: list[psutil.Process]) -> bool:
    """Whether they have, within DEATH_S."""
    deadline = time.monotonic() + DEATH_S
    while any(is_running(process) for process in processes):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def wait_while_running(process: subprocess.Popen[str], condition: Callable[[], object]) -> None:
    """Wait until the condition is true; an AssertionError with standard error where the process ends before."""
    deadline = time.monotonic() + START_S
    while not condition():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.01)


def check_interrupted(process: subprocess.Popen[str], how: signal.Signals, advice: str) -> None:
    """One line with the advice, within STOP_S, and the exit status that a shell gives."""
    began, lines = time.monotonic(), list[str]()
    assert process.stderr
    with process.stderr as stderr:
        for line in stderr:
            lines.append(line)
            assert not line.startswith("earmark: ") or time.monotonic() - began < STOP_S
    errors = "".join(lines)
    assert process.wait(timeout=20) == EXIT_STATUS[how], errors
    assert "Traceback" not in errors and "Warning" not in errors
    if how != signal.SIGKILL:
        assert errors.endswith(f"earmark: interrupted; {advice}\n"), errors
