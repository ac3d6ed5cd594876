"""Stamps of recordings: a copy is the same, and another recording of one name, size and time is not."""

import os
import shutil
from pathlib import Path

import pytest

from preprocess.store.file_identity import PROBE_BYTES, is_same, quick_stamp, size_of, stamp_of


def stamped(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    os.utime(path, ns=(0, 1_600_000_000_000_000_000))
    return stamp_of(str(path))


def same(stamp: str, path: Path) -> bool:
    return is_same(stamp, quick_stamp(str(path)), str(path))


def test_a_recording_is_itself_and_so_is_its_copy(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    stamp = stamped(recording, bytes(range(256)) * 100)
    assert size_of(stamp) == size_of(quick_stamp(str(recording))) == 25_600
    assert same(stamp, recording)
    shutil.copy2(recording, tmp_path / "copy.wav")
    assert same(stamp, tmp_path / "copy.wav")
    recording.chmod(0o600)
    assert same(stamp, recording)
    os.utime(recording, ns=(0, 1))
    assert not same(stamp, recording)


@pytest.mark.parametrize("at", [0, 3 * PROBE_BYTES, 6 * PROBE_BYTES - 1])
def test_another_recording_of_one_size_and_time_is_another(tmp_path: Path, at: int) -> None:
    content = bytearray(6 * PROBE_BYTES)
    stamp = stamped(tmp_path / "a.wav", bytes(content))
    content[at] = 1
    (tmp_path / "a.wav").unlink()
    stamped(tmp_path / "a.wav", bytes(content))
    assert not same(stamp, tmp_path / "a.wav")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert stamp_of(str(tmp_path / "a.wav")).endswith(":")


def test_what_is_not_there_is_never_the_same(tmp_path: Path) -> None:
    stamp = stamped(tmp_path / "a.wav", b"")
    assert size_of(stamp) == 0
    assert stamp_of(str(tmp_path / "gone.wav")) == quick_stamp(str(tmp_path / "gone.wav")) == ""
    assert not same(stamp, tmp_path / "gone.wav")
    assert not same("", tmp_path / "a.wav")
