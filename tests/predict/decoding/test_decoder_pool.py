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

from core.errors import BadInput
from predict.decoding import decoder_pool as listener
from predict.decoding import decoder_process as hear
from predict.decoding.decoder_pool import EAR, Listener
from preprocess.audio.blocks import DecodeError
from preprocess.frames.kinds import build_transform
from preprocess.store.schema import Stored
from recipe import Features

FEATURES = Features(rate_hz=8_000, n_fft=256, hop_samples=100, n_bins=24, fmax_hz=4_000.0)
BAD_EAR = """
import os, sys, time
from preprocess.audio import decode
from preprocess.audio import clip_audio as recording
from preprocess.frames import framing
from predict.decoding import decoder_process as hear

def decode_blocks(path, rate_hz, good=recording.decode_blocks):
    name = os.path.basename(path)
    for number, block in enumerate(good(path, rate_hz)):
        if name.startswith("once") and number == int(name[4]) and not os.path.exists(path + ".died"):
            open(path + ".died", "w").close()
            os.kill(os.getpid(), 9)
        if name.startswith("crash"):
            os.abort()
        if name.startswith("hangs"):
            time.sleep(60)
        yield block

recording.decode_blocks = decode_blocks
decode.BLOCK_VALUES = 1 << 12
framing.BATCH_VALUES = 1 << 12
hear.BLOCK_BYTES = 1 << 9
hear.main()
"""


@pytest.fixture
def bad_ear(as_process: Callable[[str], tuple[str, str]]) -> tuple[str, str]:
    """A process that dies of recordings by their names, and hears the others in many small blocks."""
    return as_process(BAD_EAR)


def recordings(folder: Path, *names: str, seconds: float = 1.0) -> list[str]:
    for seed, name in enumerate(names):
        sound = np.random.default_rng(seed).uniform(-0.5, 0.5, round(8_000 * seconds))
        soundfile.write(folder / name, sound, 8_000, format="WAV")
    return [str(folder / name) for name in names]


def heard(paths: Sequence[str], n_jobs: int, command: Sequence[str] = EAR) -> tuple[list[list[Stored]], list[str]]:
    """The blocks of the recordings that are heard, and why the others are not."""
    found, failed = [], []
    with Listener(FEATURES, n_jobs, command) as ears:
        for hearing in ears.listen(paths):
            try:
                found.append(list(hearing))
            except DecodeError as error:
                failed.append(error.reason)
    assert not ears._ears
    return found, failed


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_a_process_that_is_killed_costs_no_recording(tmp_path: Path, bad_ear: tuple[str, str], n_jobs: int) -> None:
    paths = recordings(tmp_path, "a", "once0", "once3", "crash", "b", seconds=4.0)
    found, failed = heard(paths, n_jobs, bad_ear)
    assert failed == ["the decoder crashed (SIGABRT), twice"]
    assert len(list(tmp_path.glob("*.died"))) == 2
    assert all(len(blocks) > 10 for blocks in found)
    transform = build_transform(FEATURES)
    for path, blocks in zip([path for path in paths if "crash" not in path], found, strict=True):
        *expected, _ = hear.hear(path, FEATURES, transform)
        np.testing.assert_array_equal(np.concatenate(blocks), np.concatenate(expected))  # type: ignore[arg-type]


def test_processes_that_died_hold_nothing_open(tmp_path: Path, bad_ear: tuple[str, str]) -> None:
    (crash,) = recordings(tmp_path, "crash")
    n_open = []
    with Listener(FEATURES, 1, bad_ear) as ears:
        for hearing in ears.listen([crash] * 4):
            with pytest.raises(DecodeError):
                list(hearing)
            n_open.append(len(ears._ears))
        assert not ears._ears
    assert max(n_open) <= 1


def test_a_process_that_cannot_be_had_ends_all_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    paths = recordings(tmp_path, "a", "b", "c")
    with monkeypatch.context() as full:
        full.setattr(listener.subprocess, "Popen", refuse)  # type: ignore[attr-defined]
        with pytest.raises(BadInput, match="cannot start: Resource temporarily unavailable; end what else runs"):
            heard(paths, 2)
    no_ear = (sys.executable, "-c", "raise ImportError('no such library')")
    with pytest.raises(BadInput, match=r"cannot start \(exit status 1\)"):
        heard(paths, 2, no_ear)


def test_recordings_named_from_the_folder_of_the_moment_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings(tmp_path, "a")
    monkeypatch.chdir(tmp_path)
    found, failed = heard(["a"], 1)
    assert (len(found), failed) == (1, [])


def test_leaving_early_ends_every_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = subprocess.Popen

    def noted(*arguments: Any, **keys: Any) -> subprocess.Popen[bytes]:
        started.append(start(*arguments, **keys))
        return started[-1]

    monkeypatch.setattr(listener.subprocess, "Popen", noted)  # type: ignore[attr-defined]
    with Listener(FEATURES, 2) as ears:
        next(iter(ears.listen(recordings(tmp_path, "a") * 40)))
        while len(started) < 2:
            time.sleep(0.01)
    assert all(process.poll() is not None for process in started)
    assert not any(thread.is_alive() for thread in ears._threads)


def test_a_recording_that_nobody_wants_any_more_holds_up_no_other(tmp_path: Path, bad_ear: tuple[str, str]) -> None:
    paths = recordings(tmp_path, "a", "long", "b", seconds=60.0)
    with Listener(FEATURES, 1, bad_ear) as ears:
        hearings = [ears.hear(path) for path in paths]
        whole = list(hearings[0])
        next(iter(hearings[1]))
        hearings[1].abandon()
        with pytest.raises(BadInput, match="the rest of the recording is not heard"):
            list(hearings[1])
        assert len(list(hearings[2])) == len(whole)
        assert len(ears._ears) == 1
        last = ears.hear(paths[0])
        next(iter(last))
    with pytest.raises(BadInput, match="the rest of the recording is not heard"):
        list(last)
    with pytest.raises(BadInput, match="no more recordings are to be heard"):
        ears.hear(paths[0])


def test_a_recording_that_gives_no_sound_can_be_given_up(tmp_path: Path, bad_ear: tuple[str, str]) -> None:
    hangs, good = recordings(tmp_path, "hangs", "a")
    with Listener(FEATURES, 1, bad_ear) as ears:
        first = ears.hear(hangs)
        while not ears._ears:
            time.sleep(0.01)
        assert not first.begun.done()
        first.abandon()
        assert first.begun.done()
        second = ears.hear(good)
        assert list(second)
        assert second.begun.done()


def test_recordings_longer_than_asked_for_cannot_be_read(tmp_path: Path) -> None:
    (path,) = recordings(tmp_path, "a", seconds=3.0)
    for top_db in (None, 40.0):
        features = replace(FEATURES, top_db=top_db, trim_top_db=top_db)
        with Listener(features, 1, longest_s=3.0) as ears:
            assert list(ears.hear(path))
        with Listener(features, 1, longest_s=2.99) as ears, pytest.raises(DecodeError, match=r"it is longer than 0\.0"):
            list(ears.hear(path))


def test_a_process_stopped_for_long_is_replaced(tmp_path: Path, bad_ear: tuple[str, str]) -> None:
    """Its alarm goes off while it is stopped, and ends it as soon as it may go on."""
    (path,) = recordings(tmp_path, "long", seconds=60.0)
    with Listener(FEATURES, 1, bad_ear) as ears:
        (hearing,) = ears.listen([path])
        blocks = iter(hearing)
        n_frames = len(next(blocks))
        (first,) = ears._ears
        first.process.send_signal(signal.SIGSTOP)
        first.process.send_signal(signal.SIGALRM)
        first.process.send_signal(signal.SIGCONT)
        n_frames += sum(map(len, blocks))
        assert first.process.returncode == -signal.SIGALRM
    assert n_frames == 60 * 80 + 1
