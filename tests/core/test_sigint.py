"""What is started deaf does not hear Ctrl-C; whoever started it still does."""

import signal
import subprocess
import sys

import pytest

from core.sigint import ignore_sigint


def test_a_child_that_ignores_sigint_outlives_ctrl_c_and_its_parent_is_interrupted() -> None:
    command = [sys.executable, "-c", "print('ready', flush=True); input(); print('still here')"]
    with ignore_sigint():
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout and process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGINT)
    assert process.communicate("\n")[0] == "still here\n"
    assert process.returncode == 0
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_the_handler_comes_back_after_an_error() -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="no process"), ignore_sigint():
        raise ValueError("no process")
    assert signal.getsignal(signal.SIGINT) is before
