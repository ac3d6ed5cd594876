"""How a script starts and ends: one line and a status for what users can mend, a traceback for mistakes of ours."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pandas as pd
import pytest
import torch

from core.entrypoint import run_script
from core.errors import UserError
from preprocess.store.reader import open_store
from tests.make_commands import ROOT, SMALL_RECIPE, output_options


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


def test_mistakes_keep_their_traceback() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        run_script(raising(RuntimeError("shapes cannot be multiplied")))


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_streams_that_are_closed_cost_nothing(tmp_path: Path, closed: str, tone_folders: Callable[..., Path]) -> None:
    options = f"--data.folder {tone_folders(clips=1)} --name tones --jobs 2 {SMALL_RECIPE} {output_options(tmp_path)}"
    command = f"{sys.executable} -m preprocess.features --recipe recipes/esc50.yaml {options} {closed}"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert len(pd.read_csv(tmp_path / "cache/tones/clips.csv")) == 3
    with open_store(tmp_path / "cache/tones/features.h5") as store:
        assert store.corrupt_rows() == []


def test_files_enough_for_a_worker_a_core() -> None:
    code = (
        "import resource; from core import entrypoint; "
        "entrypoint.raise_open_file_limit(); print(resource.getrlimit(resource.RLIMIT_NOFILE))"
    )
    command = f"ulimit -Sn 200 && ulimit -Hn 300 && {sys.executable} -c '{code}'"
    ended = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout == "(300, 300)\n"
