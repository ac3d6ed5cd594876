"""Which files of a folder are taken for recordings, and how clips are named."""

import os
from pathlib import Path

import pytest

from core.errors import UserError
from preprocess.dataset.discovery import (
    find_audio_files,
    list_subfolders,
    normalize_label,
    require_folder,
    require_utf8_name,
)


def touch(folder: Path, *names: str) -> list[Path]:
    """Empty files below `folder`."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_only_what_looks_like_a_recording_is_taken(tmp_path: Path) -> None:
    taken = touch(tmp_path, "a.wav", "B.FLAC", "deep/er/c.opus", "-d.mp3", "e 🎺\n'\".ogg", "x.y.m4a")
    touch(tmp_path, ".hidden.wav", "._a.wav", "Thumbs.db", "notes.txt", "labels.csv", "wav", ".git/a.wav", "a.wav.bak")
    assert find_audio_files(tmp_path) == sorted(taken)


def test_a_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        find_audio_files(tmp_path / "nowhere")


def test_links_that_loop_end(tmp_path: Path) -> None:
    touch(tmp_path, "a.wav")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "self.wav").symlink_to("self.wav")
    assert find_audio_files(tmp_path) == [tmp_path / "a.wav", tmp_path / "self.wav"]


def test_subfolders_are_sorted_and_may_be_links(tmp_path: Path) -> None:
    touch(tmp_path, "b/1.wav", ".hidden/1.wav", "file.wav", "elsewhere/1.wav")
    (tmp_path / "a").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "dead").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "up").symlink_to("..")
    assert list_subfolders(tmp_path) == [tmp_path / name for name in ("a", "b", "elsewhere")]


def test_names_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(UserError, match=r"caf\\xe9\.wav"):
        require_utf8_name(Path(os.fsdecode(b"caf\xe9.wav")))


def test_a_label_is_one_text_however_its_accents_are_stored() -> None:
    assert normalize_label(" e\u0301te\u0301 ") == "été"


def test_need_folder_tells_a_file_from_nothing(tmp_path: Path) -> None:
    (file,) = touch(tmp_path, "a.wav")
    with pytest.raises(UserError, match=r"a\.wav is not a folder: because"):
        require_folder(file, "because")
    with pytest.raises(UserError, match="nowhere is not there: because"):
        require_folder(tmp_path / "nowhere", "because")
