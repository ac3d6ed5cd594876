"""Kept scores of recordings: of one run's weights and windows, whole or not at all."""

import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from predict.inference.run_loader import load_run
from predict.inference.score_cache import CachedRecording, RecordingScores, cached_recording, score_cache_dir
from recipe import Prediction
from tests.predict.conftest import TinyRun
from train.evaluate.window_scorer import WindowScores

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)
SCORES = RecordingScores(
    WindowScores(np.arange(0, 6, 2), np.linspace(0, 1, 9, dtype=np.float32).reshape(3, 3)), -0.5, 7.0
)
LATER_S = 1_000


@pytest.fixture
def recording(tmp_path: Path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(bytes(range(256)) * 100)
    return path


@pytest.fixture
def cache_dir(tmp_path: Path) -> Path:
    return tmp_path / "scores"


def same(one: RecordingScores | None, other: RecordingScores) -> bool:
    return (
        one is not None
        and np.array_equal(one.windows.start_frames, other.windows.start_frames)
        and np.array_equal(one.windows.scores, other.windows.scores)
        and one.windows.scores.dtype == other.windows.scores.dtype
        and (one.start_s, one.duration_s) == (other.start_s, other.duration_s)
    )


def save(cache_dir: Path, recording: Path) -> CachedRecording:
    entry = cached_recording(cache_dir, recording)
    assert entry.save(SCORES)
    return entry


def test_scores_are_kept(cache_dir: Path, recording: Path) -> None:
    assert cached_recording(cache_dir, recording).load() is None
    save(cache_dir, recording)
    assert same(cached_recording(cache_dir, recording).load(), SCORES)
    assert [path.suffix for path in cache_dir.iterdir()] == [".npz"]


@given(st.data())
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_ignored(cache_dir: Path, recording: Path, data: st.DataObject) -> None:
    """What a flipped bit leaves whole, as a time in the ZIP format's tables, may be read."""
    entry = save(cache_dir, recording)
    content = entry.path.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1), "at"), data.draw(st.integers(0, 7), "bit")
    entry.path.write_bytes(content[:at])
    assert entry.load() is None
    entry.path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
    assert (loaded := entry.load()) is None or same(loaded, SCORES)


def test_a_flipped_bit_of_the_scores_is_noticed(cache_dir: Path, recording: Path) -> None:
    entry = save(cache_dir, recording)
    content = entry.path.read_bytes()
    at = content.index(SCORES.windows.scores.tobytes()) + 3
    entry.path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
    assert entry.load() is None
    assert entry.save(SCORES)
    assert same(entry.load(), SCORES)


def test_a_file_of_other_things_is_ignored(cache_dir: Path, recording: Path) -> None:
    entry = save(cache_dir, recording)
    np.savez(entry.path, start_frames=np.zeros(3))
    assert entry.load() is None
    with entry.path.open("wb") as file:
        np.save(file, np.zeros(3))
    assert entry.load() is None
    entry.path.unlink()
    entry.path.mkdir()
    assert entry.load() is None


def test_a_recording_that_changed_is_not_kept(cache_dir: Path, recording: Path) -> None:
    entry = cached_recording(cache_dir, recording)
    recording.write_bytes(bytes(range(256)) * 101)
    assert not entry.save(SCORES)
    gone = cached_recording(cache_dir, recording)
    recording.unlink()
    assert not gone.save(SCORES)
    assert not cache_dir.exists() or not list(cache_dir.iterdir())
    assert cached_recording(cache_dir, recording).load() is None


def test_another_recording_of_the_same_name_has_no_scores(cache_dir: Path, recording: Path) -> None:
    save(cache_dir, recording)
    status = recording.stat()
    content = recording.read_bytes()
    recording.write_bytes(content[::-1])
    os.utime(recording, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert cached_recording(cache_dir, recording).load() is None, "of the same length and time, but other sound"
    recording.write_bytes(content)
    os.utime(recording, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert same(cached_recording(cache_dir, recording).load(), SCORES)
    os.utime(recording, ns=(status.st_atime_ns, status.st_mtime_ns + LATER_S * 10**9))
    assert cached_recording(cache_dir, recording).load() is None


def test_a_link_shares_the_file_of_its_target(cache_dir: Path, recording: Path, tmp_path: Path) -> None:
    save(cache_dir, recording)
    (tmp_path / "link.wav").symlink_to(recording)
    (tmp_path / "folder").symlink_to(tmp_path)
    shutil.copy2(recording, tmp_path / "copy.wav")
    paths = [
        cached_recording(cache_dir, tmp_path / name).path for name in ("a.wav", "link.wav", "folder/a.wav", "copy.wav")
    ]
    assert len(set(paths[:3])) == 1
    assert paths[3] != paths[0]


def test_what_is_no_file_has_no_scores(cache_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "loop.wav").symlink_to("loop.wav")
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/bad\xff.wav"))
    for path in (tmp_path / "loop.wav", tmp_path / "none.wav", odd):
        entry = cached_recording(cache_dir, path)
        assert entry.load() is None
        assert not entry.save(SCORES)
    odd.write_bytes(b"sound")
    save(cache_dir, odd)
    assert same(cached_recording(cache_dir, odd).load(), SCORES)


@pytest.mark.parametrize(
    ("changed", "is_same"),
    [
        ({"pooling": "max"}, True),
        ({"window_threshold": 0.3}, True),
        ({"window_seconds": 0.4}, False),
        ({"hop_seconds": 0.2}, False),
        ({"mode": "dense"}, False),
        ({"blend": "geometric"}, False),
        ({"view_shifts_s": [0.1]}, False),
        ({"view_gains_db": [6.0]}, False),
    ],
    ids=str,
)
def test_a_score_cache_is_of_windows_and_their_views(
    tiny_run: TinyRun, tmp_path: Path, changed: dict[str, Any], is_same: bool
) -> None:
    run = load_run(tiny_run.run_paths.run_dir, PREDICTION)
    first = score_cache_dir(tmp_path, run)
    other = score_cache_dir(tmp_path, replace(run, prediction=replace(PREDICTION, **changed)))
    assert (first == other) == is_same
    assert first.parent == other.parent == tmp_path


def test_a_score_cache_is_of_one_run_s_weights(tiny_run: TinyRun, tmp_path: Path) -> None:
    def folder() -> Path:
        return score_cache_dir(tmp_path, load_run(tiny_run.run_paths.run_dir, PREDICTION))

    first = folder()
    assert folder() == first
    tiny_run.write_network(fold=1, seed=1)
    assert folder() != first
