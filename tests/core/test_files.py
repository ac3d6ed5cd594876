"""Files appear whole or not at all."""

import errno
from pathlib import Path

import pytest

from core.files import atomic_write, replace_files


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
