"""Progress bars where there is no terminal: a line now and then, and one at the end."""

from core.entrypoint import get_logger

import os
import pty
import sys

import pytest

from core import progress
from core.progress import progress_bar


def test_a_short_loop_ends_in_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar(9, "features", "clip") as bar:
        for _ in range(9):
            bar.update()
        bar.set_postfix_str("1 failed")
        get_logger().info("a line between")
    between, line = capsys.readouterr().err.splitlines()
    assert between == "a line between"
    assert line.startswith("features: 9/9 clips, ") and line.endswith(" left, 1 failed")


def test_a_long_loop_prints_lines_in_between_and_the_last_one_once(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LINE_INTERVAL_S", 0)
    with progress_bar(3, "features", "clip") as bar:
        for _ in range(3):
            bar.update()
            bar.refresh()
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition(" clips")[0] for line in lines] == [f"features: {n}/3" for n in range(4)]


def test_a_terminal_without_columns_gets_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, terminal = pty.openpty()  # of 0 columns, as that of a notebook
    with os.fdopen(terminal, "w") as stderr:
        monkeypatch.setattr(sys, "stderr", stderr)
        with progress_bar(2, "features", "clip") as bar:
            bar.update(2)
        monkeypatch.undo()
        printed = os.read(reader, 1000).decode()
    os.close(reader)
    assert printed.startswith("features: 2/2 clips, ") and printed.endswith(" left\r\n")
