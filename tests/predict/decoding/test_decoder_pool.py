"""Processes that hear recordings: one that dies is replaced, and none that cannot start is waited for."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.errors import UserError
from predict.decoding import decoder_pool, decoder_process
from predict.decoding.decoder_pool import DECODER_COMMAND, DecoderPool
from preprocess.audio.blocks import DecodeError
from preprocess.frames.kinds import build_transform
from preprocess.store.schema import EncodedFrames
from recipe import Features

FEATURES = Features(sample_rate_hz=8_000, n_fft=256, hop_length=100, n_bins=24, fmax_hz=4_000.0)
DYING_DECODER = """
import os, sys, time
from preprocess.audio import clip_audio, decode
from preprocess.frames import framing
from predict.decoding import decoder_process

def decode_blocks(path, sample_rate_hz, good=clip_audio.decode_blocks):
    name = os.path.basename(path)
    for number, block in enumerate(good(path, sample_rate_hz)):
        if name.startswith("once") and number == int(name[4]) and not os.path.exists(path + ".died"):
            open(path + ".died", "w").close()
            os.kill(os.getpid(), 9)
        if name.startswith("crash"):
            os.abort()
        if name.startswith("hangs"):
            time.sleep(60)
        yield block

clip_audio.decode_blocks = decode_blocks
decode.BLOCK_VALUES = 1 << 12
framing.BATCH_VALUES = 1 << 12
decoder_process.BLOCK_BYTES = 1 << 9
decoder_process.main()
"""


@pytest.fixture
def dying_decoder(as_process: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
    """A process that dies of recordings by their names, and hears the others in many small blocks."""
    return as_process(DYING_DECODER)


def recordings(folder: Path, *names: str, seconds: float = 1.0) -> list[str]:
    for seed, name in enumerate(names):
        samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(8_000 * seconds))
        soundfile.write(folder / name, samples, 8_000, format="WAV")
    return [str(folder / name) for name in names]


def decode_all(
    paths: Sequence[str], n_jobs: int, command: Sequence[str] = DECODER_COMMAND
) -> tuple[list[list[EncodedFrames]], list[str]]:
    """The blocks of the recordings that are heard, and why the others are not."""
    found, failed = [], []
    with DecoderPool(FEATURES, n_jobs, command) as pool:
        for job in pool.decode_in_order(paths):
            try:
                found.append(list(job))
            except DecodeError as error:
                failed.append(error.reason)
    assert not pool._processes
    return found, failed


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_process_that_is_killed_costs_no_recording(
    tmp_path: Path, dying_decoder: tuple[str, str], n_jobs: int
) -> None:
    paths = recordings(tmp_path, "a", "once0", "once3", "crash", "b", seconds=4.0)
    found, failed = decode_all(paths, n_jobs, dying_decoder)
    assert failed == ["the decoder crashed (SIGABRT), twice"]
    assert len(list(tmp_path.glob("*.died"))) == 2
    assert all(len(blocks) > 10 for blocks in found)
    transform = build_transform(FEATURES)
    for path, blocks in zip([path for path in paths if "crash" not in path], found, strict=True):
        *expected, _ = decoder_process.decode_to_frames(path, FEATURES, transform)
        np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(expected))  # type: ignore[arg-type]


def test_processes_that_died_hold_nothing_open(tmp_path: Path, dying_decoder: tuple[str, str]) -> None:
    (crash,) = recordings(tmp_path, "crash")
    n_open = []
    with DecoderPool(FEATURES, 1, dying_decoder) as pool:
        for job in pool.decode_in_order([crash] * 4):
            with pytest.raises(DecodeError):
                list(job)
            n_open.append(len(pool._processes))
        assert not pool._processes
    assert max(n_open) <= 1


def test_a_process_that_cannot_be_had_ends_all_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    paths = recordings(tmp_path, "a", "b", "c")
    with monkeypatch.context() as full:
        full.setattr(decoder_pool.subprocess, "Popen", refuse)  # type: ignore[attr-defined]
        with pytest.raises(UserError, match="cannot start: Resource temporarily unavailable; end what else runs"):
            decode_all(paths, 2)
    broken_command = (sys.executable, "-c", "raise ImportError('no such library')")
    with pytest.raises(UserError, match=r"cannot start \(exit status 1\)"):
        decode_all(paths, 2, broken_command)


def test_recordings_named_from_the_folder_of_the_moment_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings(tmp_path, "a")
    monkeypatch.chdir(tmp_path)
    found, failed = decode_all(["a"], 1)
    assert (len(found), failed) == (1, [])


def test_leaving_early_ends_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **keys: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **keys))
        return started[-1]

    monkeypatch.setattr(decoder_pool.subprocess, "Popen", noted)  # type: ignore[attr-defined]
    with DecoderPool(FEATURES, 2) as pool:
        next(iter(pool.decode_in_order(recordings(tmp_path, "a") * 40)))
        while len(started) < 2:
            time.sleep(0.01)
    assert all(process.poll() is not None for process in started)
    assert not any(thread.is_alive() for thread in pool._threads)


def test_a_recording_that_nobody_wants_any_more_holds_up_no_other(
    tmp_path: Path, dying_decoder: tuple[str, str]
) -> None:
    paths = recordings(tmp_path, "a", "long", "b", seconds=60.0)
    with DecoderPool(FEATURES, 1, dying_decoder) as pool:
        jobs = [pool.submit(path) for path in paths]
        blocks = list(jobs[0])
        next(iter(jobs[1]))
        jobs[1].cancel()
        with pytest.raises(UserError, match="decoding was cancelled"):
            list(jobs[1])
        assert len(list(jobs[2])) == len(blocks)
        assert len(pool._processes) == 1
        last = pool.submit(paths[0])
        next(iter(last))
    with pytest.raises(UserError, match="decoding was cancelled"):
        list(last)
    with pytest.raises(UserError, match="no more recordings are to be heard"):
        pool.submit(paths[0])


def test_a_recording_that_gives_no_sound_can_be_given_up(tmp_path: Path, dying_decoder: tuple[str, str]) -> None:
    hangs, good = recordings(tmp_path, "hangs", "a")
    with DecoderPool(FEATURES, 1, dying_decoder) as pool:
        first = pool.submit(hangs)
        while not pool._processes:
            time.sleep(0.01)
        assert not first.started.done()
        first.cancel()
        assert first.started.done()
        second = pool.submit(good)
        assert list(second)
        assert second.started.done()


def test_recordings_longer_than_asked_for_cannot_be_read(tmp_path: Path) -> None:
    (path,) = recordings(tmp_path, "a", seconds=3.0)
    for top_db in (None, 40.0):
        features = replace(FEATURES, top_db=top_db, trim_top_db=top_db)
        with DecoderPool(features, 1, max_duration_s=3.0) as pool:
            assert list(pool.submit(path))
        with (
            DecoderPool(features, 1, max_duration_s=2.99) as pool,
            pytest.raises(DecodeError, match=r"it is longer than 0\.0"),
        ):
            list(pool.submit(path))


def test_a_process_stopped_for_long_is_replaced(tmp_path: Path, dying_decoder: tuple[str, str]) -> None:
    """Its alarm goes off while it is stopped, and ends it as soon as it may go on."""
    (path,) = recordings(tmp_path, "long", seconds=60.0)
    with DecoderPool(FEATURES, 1, dying_decoder) as pool:
        (job,) = pool.decode_in_order([path])
        blocks = iter(job)
        n_frames = len(next(blocks))
        (first,) = pool._processes
        first.process.send_signal(signal.SIGSTOP)
        first.process.send_signal(signal.SIGALRM)
        first.process.send_signal(signal.SIGCONT)
        n_frames += sum(map(len, blocks))
        assert first.process.returncode == -signal.SIGALRM
    assert n_frames == 60 * 80 + 1
