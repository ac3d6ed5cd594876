"""Stamps of recordings: a copy is the same, and another recording of one name, size and time is not."""

import os
import shutil
from pathlib import Path

import pytest

from preprocess.store.file_identity import (
    PROBE_BYTES,
    file_fingerprint,
    is_same_file,
    size_in_fingerprint,
    stat_fingerprint,
)


def stamped(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    os.utime(path, ns=(0, 1_600_000_000_000_000_000))
    return file_fingerprint(str(path))


def same(source_fingerprint: str, path: Path) -> bool:
    return is_same_file(source_fingerprint, stat_fingerprint(str(path)), str(path))


def test_a_recording_is_itself_and_so_is_its_copy(tmp_path: Path) -> None:
    recording = tmp_path / "a.wav"
    source_fingerprint = stamped(recording, bytes(range(256)) * 100)
    assert size_in_fingerprint(source_fingerprint) == size_in_fingerprint(stat_fingerprint(str(recording))) == 25_600
    assert same(source_fingerprint, recording)
    shutil.copy2(recording, tmp_path / "copy.wav")
    assert same(source_fingerprint, tmp_path / "copy.wav")
    recording.chmod(0o600)
    assert same(source_fingerprint, recording)
    os.utime(recording, ns=(0, 1))
    assert not same(source_fingerprint, recording)


@pytest.mark.parametrize("at", [0, 3 * PROBE_BYTES, 6 * PROBE_BYTES - 1])
def test_another_recording_of_one_size_and_time_is_another(tmp_path: Path, at: int) -> None:
    content = bytearray(6 * PROBE_BYTES)
    source_fingerprint = stamped(tmp_path / "a.wav", bytes(content))
    content[at] = 1
    (tmp_path / "a.wav").unlink()
    stamped(tmp_path / "a.wav", bytes(content))
    assert not same(source_fingerprint, tmp_path / "a.wav")


def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.wav")
    assert file_fingerprint(str(tmp_path / "a.wav")).endswith(":")


def test_what_is_not_there_is_never_the_same(tmp_path: Path) -> None:
    source_fingerprint = stamped(tmp_path / "a.wav", b"")
    assert size_in_fingerprint(source_fingerprint) == 0
    assert file_fingerprint(str(tmp_path / "gone.wav")) == stat_fingerprint(str(tmp_path / "gone.wav")) == ""
    assert not same(source_fingerprint, tmp_path / "gone.wav")
    assert not same("", tmp_path / "a.wav")
