"""Workers that crash, hang or are killed cost one recording, and the others go on."""

import gc
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.errors import BadInput
from preprocess.build.messages import ClipJob, Ended, PartJob
from preprocess.build.progress_index import Whereabouts
from preprocess.build.worker_pool import Crew
from preprocess.store.shards import read_part
from recipe import Features

FEATURES = Features(rate_hz=16_000, n_fft=256, hop_samples=128, n_bins=16)
BAD_WORKER = """
import ctypes, os, sys, time
from preprocess.audio import clip_audio as recording
from preprocess.audio import watchdog as watch
from preprocess.build import worker

def decode_blocks(path, rate_hz, good=recording.decode_blocks):
    name = os.path.basename(path)
    if name.startswith("crash"):
        ctypes.string_at(0)
    if name.startswith("hang"):
        ctypes.PyDLL(None).sleep(60)  # holds the interpreter, as a decoder in C may
    if name.startswith("once") and not os.path.exists(path + ".died"):
        open(path + ".died", "w").close()
        os.kill(os.getpid(), 9)
    if name.startswith("killed"):
        os.kill(os.getpid(), 9)
    if name.startswith("slow"):
        time.sleep(0.15)
    if name.startswith("bug"):
        raise RuntimeError("a bug")
    yield from good(path, rate_hz)

recording.decode_blocks = decode_blocks
watch.SILENT_S = 1
worker.PART_S = 0.2
worker.main()
"""


@pytest.fixture
def bad_worker(as_process: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
    """A worker that dies of recordings by their names."""
    return as_process(BAD_WORKER)


def recordings(folder: Path, names: list[str]) -> tuple[ClipJob, ...]:
    for seed, name in enumerate(names):
        noise = np.random.default_rng(seed).uniform(-0.5, 0.5, 3_000)
        soundfile.write(folder / name, noise, 16_000, format="WAV")
    return tuple(ClipJob(name, str(folder / name)) for name in names)


def parts_of(folder: Path, clips: tuple[ClipJob, ...], n_clips: int) -> list[PartJob]:
    starts = range(0, len(clips), n_clips)
    return [PartJob(folder / "parts" / f"{start}.part", clips[start : start + n_clips]) for start in starts]


def clips_in(folder: Path) -> dict[str, str]:
    """Digest by clip, over all parts."""
    found: dict[str, str] = {}
    for path in (folder / "parts").glob("*.part"):
        rows, damaged = read_part(path, FEATURES)
        assert not damaged
        found |= {row.clip: row.digest for row in rows}
    return found


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_bad_recordings_cost_themselves_alone(tmp_path: Path, bad_worker: tuple[str, str], n_jobs: int) -> None:
    good = [f"good{number}" for number in range(8)]
    names = [*good[:2], "crash1", good[2], "hang", "crash2", *good[3:5], "killed", "once", "bug", *good[5:]]
    clips = recordings(tmp_path, names)
    with Crew(FEATURES, n_jobs, bad_worker) as crew:
        wrote = list(crew.compute(parts_of(tmp_path, clips, 6)))
    ends: list[Ended] = [end for one in wrote for end in one.ends]
    failures = {end.failure.clip: end.failure for end in ends if end.failure}
    assert {clip: failure.reason for clip, failure in failures.items()} == {
        "crash1": "the decoder crashed (SIGSEGV), twice",
        "crash2": "the decoder crashed (SIGSEGV), twice",
        "hang": "the decoder hung: no sound for 30 s, twice",
        "killed": "its worker was ended from outside (SIGKILL), twice: too little memory?",
        "bug": "RuntimeError: a bug",
    }
    assert [clip for clip, failure in failures.items() if not failure.source] == ["killed"]  # to be tried again
    assert len(ends) == len(names)
    with Crew(FEATURES, 1) as crew:
        list(crew.compute(parts_of(tmp_path / "clean", tuple(clip for clip in clips if clip.clip not in failures), 20)))
    assert clips_in(tmp_path) == clips_in(tmp_path / "clean")
    assert clips_in(tmp_path).keys() == {*good, "once"}


def test_a_killed_worker_is_replaced(tmp_path: Path) -> None:
    clips = recordings(tmp_path, [f"{number}.wav" for number in range(12)])
    with Crew(FEATURES, 1) as crew:
        written = crew.compute(parts_of(tmp_path, clips, 3))
        next(written)
        (killed,) = crew._processes
        os.kill(killed.process.pid, signal.SIGKILL)
        list(written)
        (process,) = crew._processes
        assert process is not killed
    assert len(clips_in(tmp_path)) == 12
    assert process.process.poll() is not None


def test_recordings_that_kill_their_workers_leave_no_file_open(tmp_path: Path, bad_worker: tuple[str, str]) -> None:
    open_files = Path("/proc/self/fd")
    if not open_files.is_dir():
        pytest.skip("this system does not say which files are open")
    clips = recordings(tmp_path, [*(f"killed{number}" for number in range(4)), "good"])
    with Crew(FEATURES, 1, bad_worker) as crew:
        list(crew.compute(parts_of(tmp_path, clips[-1:], 1)))
        before = len(list(open_files.iterdir()))
        list(crew.compute(parts_of(tmp_path, clips, 5)))
        gc.collect()
        assert len(list(open_files.iterdir())) == before


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_part_that_takes_long_is_written_in_several(tmp_path: Path, bad_worker: tuple[str, str], n_jobs: int) -> None:
    clips = recordings(tmp_path, [*(f"slow{number}" for number in range(7)), "crash", "slow7", "good1", "good2"])
    with Crew(FEATURES, n_jobs, bad_worker) as crew:
        wrote = list(crew.compute(parts_of(tmp_path, clips, 20)))
    parts = [one.part for one in wrote if one.part]
    assert len({*parts}) == len(parts) >= 4
    assert sum(len(one.ends) for one in wrote) == 11
    assert [end.failure.clip for one in wrote for end in one.ends if end.failure] == ["crash"]
    assert clips_in(tmp_path).keys() == {clip.clip for clip in clips} - {"crash"}
    assert [row.clip for one in wrote for row in one.rows] == [clip.clip for clip in clips if clip.clip != "crash"]


def test_a_worker_whose_parent_is_gone_keeps_what_it_has_and_ends(tmp_path: Path, bad_worker: tuple[str, str]) -> None:
    script = Path(bad_worker[1])
    script.write_text(script.read_text().replace("worker.PART_S", "other"))
    clips = recordings(tmp_path, ["good", *(f"slow{number}" for number in range(50))])
    ours, theirs = Pipe()
    at = Whereabouts.create()
    with theirs:
        files = [theirs.fileno(), at.descriptor]
        process = subprocess.Popen([*bad_worker, *map(str, files)], pass_fds=files, stderr=subprocess.DEVNULL)
    ours.send((FEATURES, "cpu"))
    ours.recv()
    ours.send(PartJob(tmp_path / "parts" / "0.part", clips))
    while not at.get():
        time.sleep(0.001)
    ours.close()
    process.wait(timeout=5)
    assert 2 <= len(clips_in(tmp_path)) == at.get() + 1 < len(clips)


def test_an_interrupt_ends_the_workers_at_once(tmp_path: Path, bad_worker: tuple[str, str]) -> None:
    clips = recordings(tmp_path, ["hang1", "hang2", "good"])
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Crew(FEATURES, 2, bad_worker) as crew:
        threading.Timer(0.3, signal.raise_signal, [signal.SIGINT]).start()
        list(crew.compute(parts_of(tmp_path, clips, 1)))
    assert time.monotonic() - began < 5
    assert all(one.process.poll() is not None for one in crew._processes)


def test_a_worker_that_cannot_start_says_why(tmp_path: Path) -> None:
    clips = recordings(tmp_path, ["a.wav"])
    no_worker = (sys.executable, "-c", "raise ImportError('no such library')")
    with (
        pytest.raises(BadInput, match="cannot start: ImportError: no such library"),
        Crew(FEATURES, 1, no_worker) as crew,
    ):
        list(crew.compute(parts_of(tmp_path, clips, 1)))


@pytest.mark.parametrize("lacking", ["Pipe", "subprocess.Popen"])
def test_a_worker_that_cannot_be_had_ends_all_in_a_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lacking: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    clips = recordings(tmp_path, ["a.wav", "b.wav", "c.wav"])
    monkeypatch.setattr(f"preprocess.build.worker_pool.{lacking}", refuse)
    line = "a worker process cannot start: Resource temporarily unavailable; end what else runs, or try fewer --jobs"
    with pytest.raises(BadInput, match=line), Crew(FEATURES, 2) as crew:
        list(crew.compute(parts_of(tmp_path, clips, 1)))
    assert not crew._processes


def test_a_part_that_cannot_be_written_stops_everything(tmp_path: Path) -> None:
    clips = recordings(tmp_path, [f"{number}.wav" for number in range(4)])
    (tmp_path / "parts").write_text("in the way")
    with pytest.raises(BadInput, match=r"parts.*what was finished is kept"), Crew(FEATURES, 2) as crew:
        list(crew.compute(parts_of(tmp_path, clips, 1)))
    assert all(one.process.poll() is not None for one in crew._processes)
