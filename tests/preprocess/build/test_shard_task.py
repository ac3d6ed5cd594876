"""Recordings that crash, hang or are killed cost themselves alone, and the others are written."""

import gc
import os
import signal
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest

from core.errors import UserError
from core.parallel import run_parallel
from core.sandbox import Cancelled, Sandbox, SandboxLimits, cancel_sandboxes
from preprocess.audio.blocks import DecodeError
from preprocess.build import shard_task
from preprocess.build.shard_task import ClipJob, ClipResult, ShardResult, ShardTask, append_clip, compute_shards
from preprocess.frames import get_transform
from preprocess.frames.framing import Frames, Samples
from preprocess.store.file_identity import file_fingerprint, stat_fingerprint
from preprocess.store.schema import features_digest
from preprocess.store.shards import read_shard
from recipe import Features
from tests.preprocess.bad_recordings import REASONS, TO_BLAME, let_recordings_be_bad, write_noise

FEATURES = Features(sample_rate_hz=16_000, n_fft=256, hop_length=128, n_bins=16)
LIMITS = SandboxLimits(max_memory_bytes=1 << 31)


@pytest.fixture
def bad(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recordings do what their names say."""
    let_recordings_be_bad(monkeypatch)


def recordings(folder: Path, names: Iterable[str]) -> tuple[ClipJob, ...]:
    for seed, name in enumerate(names):
        write_noise(folder / name, seed)
    return tuple(plan(folder / name) for name in names)


def plan(path: Path) -> ClipJob:
    return ClipJob(path.name, str(path), source=stat_fingerprint(str(path)))


def make_tasks(folder: Path, clips: tuple[ClipJob, ...], n_clips: int) -> list[ShardTask]:
    starts = range(0, len(clips), n_clips)
    shards = folder / "shards"
    parts = [(shards / f"{start}.shard", clips[start : start + n_clips]) for start in starts]
    return [ShardTask(*part, FEATURES, features_digest(FEATURES), LIMITS) for part in parts]


def compute(folder: Path, clips: tuple[ClipJob, ...], n_clips: int = 20, n_jobs: int = 1) -> list[ShardResult]:
    tasks = make_tasks(folder, clips, n_clips)
    return [result for results in run_parallel(compute_shards, tasks, n_jobs) for result in results]


def digests(folder: Path) -> dict[str, str]:
    """Digest by clip, over all shards."""
    found: dict[str, str] = {}
    for path in (folder / "shards").glob("*.shard"):
        rows, corrupt = read_shard(path, FEATURES)
        assert not corrupt
        assert not found.keys() & {row.clip for row in rows}
        found |= {row.clip: row.digest for row in rows}
    return found


def clip_results(results: Iterable[ShardResult]) -> list[ClipResult]:
    return [clip_result for result in results for clip_result in result.clip_results]


def test_bad_recordings_cost_themselves_alone(tmp_path: Path, bad: None) -> None:
    good = [f"good{number}" for number in range(8)]
    names = [*good[:2], "crash", good[2], "hang", "abort", "half", *good[3:5], "killed", "memory", "once", "bug"]
    clips = recordings(tmp_path, [*names, *good[5:]])
    results = clip_results(compute(tmp_path, clips, 6, 2))
    errors = {result.job.clip: result.error for result in results if result.error}
    assert {clip: error.reason for clip, error in errors.items()} == REASONS
    sources = {result.job.clip: result.source for result in results if result.source}
    assert sources == {clip: file_fingerprint(str(tmp_path / clip)) for clip in TO_BLAME}
    assert sorted(result.job.clip for result in results) == sorted(clip.clip for clip in clips)
    assert all(result.duration_s == (0 if result.error else 3_000 / 16_000) for result in results)
    compute(tmp_path / "clean", tuple(clip for clip in clips if clip.clip not in errors))
    assert digests(tmp_path) == digests(tmp_path / "clean")
    assert digests(tmp_path).keys() == {*good, "once", "half"}


def test_a_sandbox_that_is_killed_between_recordings_is_replaced(tmp_path: Path) -> None:
    clips = recordings(tmp_path, [f"{number}.wav" for number in range(12)])
    results = run_parallel(compute_shards, make_tasks(tmp_path, clips, 3), 1)
    next(results)
    for child in psutil.Process().children():
        os.kill(child.pid, signal.SIGKILL)
    list(results)
    assert len(digests(tmp_path)) == 12


def test_recordings_that_end_their_process_leave_no_file_open(tmp_path: Path, bad: None) -> None:
    clips = recordings(tmp_path, [*(f"killed{number}" for number in range(2)), "good"])
    with cancel_sandboxes():  # those of other tests
        pass
    compute(tmp_path, clips[-1:])
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    compute(tmp_path, clips)
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_task_that_takes_long_is_written_in_several_shards(
    tmp_path: Path, bad: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_task, "SHARD_TIME_S", 0.25)
    clips = recordings(tmp_path, [*(f"slow{number}" for number in range(7)), "crash", "slow7", "good1", "good2"])
    results = compute(tmp_path, clips)
    shards = [result.shard for result in results]
    assert len({*shards}) == len(shards) >= 4
    assert [result.job.clip for result in clip_results(results)] == [clip.clip for clip in clips]
    assert [result.job.clip for result in clip_results(results) if result.error] == ["crash"]
    rows = [row.clip for result in results for row in result.rows]
    assert rows == [clip.clip for clip in clips if clip.clip != "crash"]
    assert digests(tmp_path).keys() == {*rows}


def test_what_was_written_before_a_stop_is_kept(tmp_path: Path, bad: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shard_task, "SHARD_TIME_S", 0)
    clips = recordings(tmp_path, ["good", *(f"slow{number}" for number in range(3))])

    run = Sandbox.run

    def run_until_slow2(sandbox: Sandbox, function: Any, jobs: Sequence[ClipJob], *rest: Any, **options: Any) -> Any:
        if jobs[0].clip == "slow2":
            raise Cancelled
        return run(sandbox, function, jobs, *rest, **options)

    monkeypatch.setattr(Sandbox, "run", run_until_slow2)
    with pytest.raises(Cancelled):
        compute(tmp_path, clips)
    assert digests(tmp_path).keys() == {"good", "slow0", "slow1"}
    assert not list((tmp_path / "shards").glob(".*.tmp"))


@pytest.mark.parametrize("names", [["empty"], ["missing"], []])
def test_a_shard_of_no_rows_is_a_shard(tmp_path: Path, names: list[str]) -> None:
    (tmp_path / "empty").touch()
    results = compute(tmp_path, tuple(plan(tmp_path / name) for name in names))
    assert digests(tmp_path) == {}
    sources = [result.source for result in clip_results(results)]
    assert sources == [file_fingerprint(str(tmp_path / name)) for name in names]


def test_a_recording_that_changes_while_it_is_read_gives_no_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clip,) = recordings(tmp_path, ["a.wav"])
    (tmp_path / "0.shard").touch()

    def get_meddling_transform(features: Features) -> Any:
        def transform(sound: Iterable[Samples]) -> Iterator[Frames]:
            yield from get_transform(features)(sound)
            Path(clip.path).write_bytes(Path(clip.path).read_bytes() + b"more")

        return transform

    monkeypatch.setattr(shard_task, "get_transform", get_meddling_transform)
    assert append_clip(clip, str(tmp_path / "0.shard"), 0, FEATURES) == ([], 3_000 / 16_000)


def test_a_recording_that_is_mended_while_it_fails_is_not_blamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.wav"
    path.write_bytes(b"the first half of a copy")

    def mend_and_fail(*_: Any, **__: Any) -> Iterator[DecodeError]:
        write_noise(path, 0)
        yield DecodeError(path, "damaged")

    monkeypatch.setattr(Sandbox, "run", mend_and_fail)
    (result,) = clip_results(compute(tmp_path, (plan(path),)))
    assert result.error
    assert result.source == ""


def test_shards_that_cannot_be_written_stop_everything(tmp_path: Path) -> None:
    clips = recordings(tmp_path, [f"{number}.wav" for number in range(4)])
    (tmp_path / "shards").write_text("in the way")
    with pytest.raises(FileExistsError, match="shards"):
        compute(tmp_path, clips, 1, 2)


def test_a_process_that_cannot_be_had_stops_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with cancel_sandboxes():
        monkeypatch.setattr("core.sandbox.subprocess.Popen", refuse)
    with pytest.raises(UserError, match=r"no process can be started \(Resource temporarily unavailable\): end what"):
        compute(tmp_path, recordings(tmp_path, ["a.wav", "b.wav", "c.wav"]), 1, 2)


def test_hanging_recordings_end_with_their_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    let_recordings_be_bad(monkeypatch)
    monkeypatch.setattr("tests.preprocess.bad_recordings.HANG_TIMEOUT_S", 60)
    clips = recordings(tmp_path, ["good", "hang1", "hang2"])
    results = run_parallel(compute_shards, make_tasks(tmp_path, clips, 1), 3)
    next(results)
    time.sleep(0.2)
    began = time.monotonic()
    results.close()
    assert time.monotonic() - began < 2
    assert not psutil.Process().children()
    assert digests(tmp_path).keys() == {"good"}
