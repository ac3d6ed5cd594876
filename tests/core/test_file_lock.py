"""One process at a time holds a lock file, and a killed one frees it."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from core.errors import UserError
from core.file_lock import file_lock
from tests.make_commands import ROOT


def test_a_lock_is_refused_while_another_process_holds_it_and_free_once_it_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "new" / ".lock"
    code = (
        "import sys, time; from pathlib import Path; from core.file_lock import file_lock\n"
        "with file_lock(Path(sys.argv[1]), 'make x'): print(flush=True); time.sleep(60)"
    )
    holder = subprocess.Popen([sys.executable, "-c", code, path], cwd=ROOT, stdout=subprocess.PIPE)
    assert holder.stdout and holder.stdout.readline()
    with (
        pytest.raises(UserError, match="new: another make features is at work there"),
        file_lock(path, "make features"),
    ):
        pass
    holder.kill()
    holder.communicate()
    for _ in range(2):
        with file_lock(path, "make features"):
            pass


@pytest.mark.parametrize("number", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_other_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: int
) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", fail)
    for _ in range(2):
        with file_lock(tmp_path / ".lock", "make features"):
            pass
        assert capsys.readouterr().err.startswith(f"warning: {tmp_path}: this file system has no locks (")


def test_other_errors_are_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / ".lock").mkdir()
    with pytest.raises(OSError, match="directory"), file_lock(tmp_path / ".lock", "make features"):
        pass
