"""How a script starts and ends: one line and a status for what users can mend, a traceback for mistakes of ours."""

from core.entrypoint import MAX_OPEN_FILES, get_logger, log_warning, raise_open_file_limit, run_script

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
import torch

from core.errors import UserError
from tests.make_commands import ROOT
from tests.processes import EXIT_STATUS, wait_while_running
from tests.test_house import FILES, is_script


def raising(error: BaseException) -> Callable[[], NoReturn]:
    """A script that ends so."""

    def main() -> NoReturn:
        raise error

    return main


def fill_memory() -> None:
    torch.empty(1 << 60, dtype=torch.uint8)


@pytest.mark.parametrize(
    ("main", "status", "line"),
    [
        (raising(UserError("no\n such file")), 2, "earmark: no such file"),
        (raising(OSError(28, "No space left on device", "a.csv")), 2, "earmark: a.csv: No space left on device; make "),
        (raising(KeyboardInterrupt()), 130, "earmark: interrupted; "),
        (lambda: signal.raise_signal(signal.SIGTERM), 143, "earmark: interrupted; "),
        (raising(MemoryError()), 2, "earmark: too little memory (of this machine): end what else fills it, "),
        (raising(torch.OutOfMemoryError("CUDA out of memory.\nSee")), 2, "earmark: too little memory (CUDA out of mem"),
        (fill_memory, 2, "earmark: too little memory ("),
        (lambda: 1, 1, ""),
        (lambda: None, 0, ""),
    ],
)
def test_a_script_ends_in_one_line(
    main: Callable[[], int | None], status: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_script(main)
    said = capsys.readouterr().err
    assert ended.value.code == status
    assert said.startswith(line)
    assert said.count("\n") == bool(line)


FORKED_AND_IGNORED = """
import os, signal
from core.entrypoint import run_script

def main():
    child = os.fork()
    if not child:
        signal.raise_signal(signal.SIGTERM)
        os._exit(1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))

def run(main):
    try:
        run_script(main)
    except SystemExit as ended:
        print(ended.code)

run(main)
print(signal.getsignal(signal.SIGTERM) is signal.SIG_DFL)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
run(lambda: signal.raise_signal(signal.SIGTERM))
"""


def test_sigterm_is_handled_in_the_script_s_own_process_alone() -> None:
    """Forked processes end of it, where it was ignored it still is, and afterwards all is as before."""
    command = [sys.executable, "-c", FORKED_AND_IGNORED]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.split() == ["-15", "0", "True", "0"]


SLOW_IMPORT = """
import os, pathlib, time
(pathlib.Path(__file__).parent / f"imported{os.getpid()}").touch()
for _ in range(600):
    time.sleep(0.1)  # Python looks at a signal that comes right before a sleep only after it
"""
SCRIPTS = [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in FILES if is_script(path)]
STOPS = [(script, signal.SIGINT) for script in SCRIPTS] + [("preprocess.features", signal.SIGTERM)]


@pytest.mark.parametrize(("script", "how"), STOPS)
def test_a_script_that_is_stopped_while_it_imports_ends_in_one_line(
    tmp_path: Path, script: str, how: signal.Signals
) -> None:
    for name in ("jsonargparse", "numpy", "torch"):
        (tmp_path / f"{name}.py").write_text(SLOW_IMPORT)
    process = subprocess.Popen(
        [sys.executable, "-m", script],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_while_running(process, (tmp_path / f"imported{process.pid}").exists)
    process.send_signal(how)
    assert process.communicate(timeout=20)[1] == "earmark: interrupted\n"
    assert process.returncode == EXIT_STATUS[how]


def test_a_process_that_only_imports_a_script_keeps_its_handlers() -> None:
    code = "import signal, preprocess.features; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "True\n"


def test_mistakes_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run_script(raising(RuntimeError("shapes cannot be multiplied")))


def test_messages_are_lines_on_the_standard_error_of_the_moment(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        get_logger().info("3 clips are 50% done")
        log_warning("1 is left out")
        assert capsys.readouterr() == ("", "3 clips are 50% done\nwarning: 1 is left out\n")


def test_files_enough_for_a_worker_a_core() -> None:
    code = (
        "import resource; from core import entrypoint; "
        "entrypoint.raise_open_file_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    command = f"ulimit -Sn 200 && ulimit -Hn 300 && {sys.executable} -c '{code}'"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "(300, 300)\n"


def test_a_system_that_allows_fewer_files_than_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(_: int, limits: tuple[int, int]) -> None:
        asked.append(limits)
        raise ValueError("current limit exceeds maximum limit")

    monkeypatch.setattr(resource, "getrlimit", lambda _: (256, resource.RLIM_INFINITY))
    monkeypatch.setattr(resource, "setrlimit", refuse)
    raise_open_file_limit()
    assert asked == [(MAX_OPEN_FILES, resource.RLIM_INFINITY)]


def test_charts_do_not_need_the_backend_of_a_notebook() -> None:
    notebook = os.environ | {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    command = [sys.executable, "-m", "train.find_lr", "--help"]
    ended = subprocess.run(command, cwd=ROOT, env=notebook, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (0, "")
