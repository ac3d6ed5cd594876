"""Files appear whole or not at all."""

import errno
import fcntl
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

import pytest

from core.files import atomic_write, replace_files
from tests.make_commands import ROOT


def test_a_file_appears_at_the_end_and_its_folder_with_it(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    with atomic_write(path) as temporary:
        temporary.write_text("half")
        assert not path.exists()
        assert temporary.parent == path.parent
    assert path.read_text() == "half"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_after_an_exception_the_old_file_stands_alone(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("new")
        raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_that_is_not_the_disk_s_keeps_its_words(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"^no such library$"), atomic_write(tmp_path / "file.txt"):
        raise OSError("no such library")


@pytest.mark.parametrize("named", [True, False])
def test_a_full_disk_is_told_by_the_folder_or_the_file_in_it(tmp_path: Path, named: bool) -> None:
    with pytest.raises(OSError, match="No space left") as caught, replace_files(tmp_path, ["a.csv"]) as new:
        raise OSError(errno.ENOSPC, "No space left", str(new / "a.csv") if named else None)
    assert caught.value.filename == str(tmp_path / "a.csv" if named else tmp_path)


def test_nothing_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "file.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_process_left_goes_and_what_a_living_one_writes_stays(tmp_path: Path) -> None:
    code = (
        "import sys, time; from pathlib import Path; from core.files import replace_files\n"
        "with replace_files(Path(sys.argv[1]), ['a.csv']) as new:\n"
        "    (new / 'a.csv').write_text('theirs'); print(flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], cwd=ROOT, stdout=subprocess.PIPE)
    assert process.stdout and process.stdout.readline()
    for text, n_left in (("one", 2), ("two", 1)):
        with replace_files(tmp_path, ["a.csv"]) as new:
            (new / "a.csv").write_text(text)
        assert (tmp_path / "a.csv").read_text() == text
        assert len(list(tmp_path.iterdir())) == n_left
        assert [path.read_text() for path in tmp_path.glob(".new-*/*/a.csv")] == ["theirs"] * (n_left - 1)
        process.kill()
        process.wait()
    process.stdout.close()


def test_without_locks_nothing_of_another_process_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", fail)
    with replace_files(tmp_path, ["a.csv"]) as new, replace_files(tmp_path, ["a.csv"]) as other:
        (new / "a.csv").write_text("one")
        (other / "a.csv").write_text("other")
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv"]
    assert (tmp_path / "a.csv").read_text() == "one"
