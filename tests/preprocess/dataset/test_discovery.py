"""Which files of a folder are taken for recordings, and how clips are named."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from preprocess.dataset.discovery import (
    describe_left_out,
    find_audio_files,
    list_subfolders,
    normalize_label,
    require_folder,
    require_utf8_name,
)
from tests.audio_files import write_with_pyav


def touch(folder: Path, *names: str) -> list[Path]:
    """Empty files below `folder`."""
    paths = [folder / name for name in names]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return paths


def test_what_is_named_as_a_recording_is_taken(tmp_path: Path) -> None:
    taken = touch(tmp_path, "a.wav", "B.FLAC", "deep/er/c.opus", "-d.mp3", "e 🎺\n'\".ogg", "x.y.m4a", "v.AVI", "w.sph")
    touch(tmp_path, ".hidden.wav", "._a.wav", "Thumbs.db", "notes.txt", "labels.csv", ".git/a.wav")
    touch(tmp_path, "wav", "a.wav.bak")
    left_out: list[Path] = []
    assert find_audio_files(tmp_path, left_out) == sorted(taken)
    assert sorted(path.name for path in left_out) == ["a.wav.bak", "wav"]
    (sentence,) = describe_left_out(tmp_path, left_out)
    assert "2 files" in sentence
    assert ".bak 1" in sentence
    assert describe_left_out(tmp_path, []) == []


FORMS = ["WAV", "FLAC", "OGG", "MP3", "AIFF", "CAF", "W64", "AU", "RF64", "NIST", "VOC", "SVX"]


@pytest.mark.parametrize("form", FORMS)
def test_without_a_known_ending_the_content_decides(tmp_path: Path, form: str) -> None:
    for name in ("recording", "a.xyz", "2024.05.01"):
        soundfile.write(tmp_path / name, np.random.default_rng(0).uniform(-0.5, 0.5, 4_000), 8_000, format=form)
    (tmp_path / "text").write_text("Kein Ton, nur Text", encoding="utf-16")
    (tmp_path / "picture.xyz").write_bytes(b"\xff\xd8\xff\xe0" + bytes(500))
    os.mkfifo(tmp_path / "pipe")  # which nobody writes to
    left_out: list[Path] = []
    assert [path.name for path in find_audio_files(tmp_path, left_out)] == ["2024.05.01", "a.xyz", "recording"]
    assert sorted(path.name for path in left_out) == ["picture.xyz", "pipe", "text"]


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        ("mp4", "aac"),
        ("mov", "aac"),
        ("matroska", "libopus"),
        ("avi", "libmp3lame"),
        ("mpegts", "aac"),
        ("mpeg", "mp2"),
        ("asf", "wmav2"),
        ("flv", "aac"),
        ("adts", "aac"),
        ("ac3", "ac3"),
        ("mp3", "libmp3lame"),
        ("tta", "tta"),
    ],
)
def test_films_and_broadcasts_without_an_ending_are_found(tmp_path: Path, form: str, codec: str) -> None:
    write_with_pyav(tmp_path / "film", form, codec, np.zeros(48_000, np.float32))
    assert find_audio_files(tmp_path) == [tmp_path / "film"]


def test_a_folder_that_cannot_be_listed_is_no_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="nowhere"):
        find_audio_files(tmp_path / "nowhere")


def test_links_to_folders_are_followed_but_not_back(tmp_path: Path) -> None:
    touch(tmp_path, "set/a.wav", "elsewhere/deep/b.wav")
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "back").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "up").symlink_to("..")
    (tmp_path / "set" / "self.wav").symlink_to("self.wav")
    (tmp_path / "set" / "dead").symlink_to("nowhere")
    names = [str(path.relative_to(tmp_path / "set")) for path in find_audio_files(tmp_path / "set")]
    assert names == ["a.wav", "linked/deep/b.wav", "self.wav"]


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
