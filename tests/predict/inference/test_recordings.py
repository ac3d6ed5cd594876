"""Recordings of no dataset: in order, each decoded once, and none costs another."""

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from core.errors import UserError
from core.sandbox import Cancelled, SandboxLimits
from predict.inference import recordings as module
from predict.inference.recordings import (
    RecordingFrames,
    RecordingTask,
    find_input_files,
    predict_files,
    score_recording,
    split_into_batches,
)
from predict.inference.run_loader import load_run
from predict.inference.score_cache import CachedRecording, RecordingScores, score_cache_dir
from predict.inference.tagger import ClipPrediction
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import decoder_limits
from recipe import Data, Prediction
from tests.predict.conftest import FEATURES, TinyRun
from train.evaluate.window_scorer import WindowScorer, WindowScores
from train.evaluate.windows import WindowChunk

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)
CPU = torch.device("cpu")
LIMITS = decoder_limits(Data())
Predicted = tuple[dict[str, ClipPrediction], dict[str, str]]
both = pytest.mark.parametrize("n_jobs", [1, 2])


@pytest.fixture
def field(tiny_run: TinyRun, tmp_path: Path) -> Path:
    """The run's test recordings, some in a folder of their own, and one that cannot be read."""
    folder = tmp_path / "field trip"
    (folder / "day 2").mkdir(parents=True)
    for number in range(6, 12):
        shutil.copy(tiny_run.table["path"].iloc[number], folder / ("day 2" if number > 8 else "") / f"{number:02}.wav")
    (folder / "broken.mp3").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("not a recording")
    return folder


def predict(
    tiny_run: TinyRun,
    source: Path,
    n_jobs: int = 1,
    limits: SandboxLimits = LIMITS,
    prediction: Prediction = PREDICTION,
) -> Predicted:
    """Predictions for a folder's recordings by clip, and why there are none."""
    run = load_run(tiny_run.run_paths.run_dir, prediction)
    cache_dir = score_cache_dir(tiny_run.run_paths.run_dir / "score_cache", run)
    found, failed, _ = predict_files(
        find_input_files(source),
        run.tagger(),
        run.recipe.features,
        cache_dir,
        tiny_run.run_paths.run_dir,
        limits,
        CPU,
        n_jobs,
    )
    return found, dict(failed)


def make_noise(path: Path, seconds: float, seed: int = 0) -> Path:
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, round(8_000 * seconds))
    soundfile.write(path, samples, 8_000, format="WAV")
    return path


def assert_same(one: ClipPrediction, other: ClipPrediction) -> None:
    for name in ("start_s", "end_s", "windows", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the recordings that are decoded, filled as they are."""
    names: list[str] = []

    class Noted(RecordingFrames):
        def __iter__(self) -> Iterator[Tensor]:
            names.append(self.path.name)
            return super().__iter__()

    monkeypatch.setattr(module, "RecordingFrames", Noted)
    return names


@both
def test_recordings_come_in_order_with_those_that_cannot_be_read(tiny_run: TinyRun, field: Path, n_jobs: int) -> None:
    found, failed = predict(tiny_run, field, n_jobs)
    assert list(found) == ["06.wav", "07.wav", "08.wav", "day 2/09.wav", "day 2/10.wav", "day 2/11.wav"]
    assert list(failed) == ["broken.mp3"]
    assert failed["broken.mp3"]


def test_cached_recordings_are_not_decoded_again(tiny_run: TinyRun, field: Path, decoded: list[str]) -> None:
    first, _ = predict(tiny_run, field)
    (field / "12.wav").write_bytes((field / "08.wav").read_bytes())
    decoded.clear()
    second, _ = predict(tiny_run, field)
    assert sorted(decoded) == ["12.wav", "broken.mp3"]
    for clip, expected in first.items():
        assert_same(second[clip], expected)
    assert_same(second["12.wav"], first["08.wav"])


@both
def test_an_interrupted_run_goes_on_with_what_was_finished(
    tiny_run: TinyRun, field: Path, decoded: list[str], n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    score_cache = tiny_run.run_paths.run_dir / "score_cache"

    class Interrupted(RecordingFrames):
        def __iter__(self) -> Iterator[Tensor]:
            while self.path.name == "10.wav":
                if len(list(score_cache.glob("*/*.npz"))) >= 2:
                    raise KeyboardInterrupt
                time.sleep(0.01)
            return super().__iter__()

    with monkeypatch.context() as stopped, pytest.raises(KeyboardInterrupt):
        stopped.setattr(module, "RecordingFrames", Interrupted)
        predict(tiny_run, field, n_jobs)
    n_kept = len(list(score_cache.glob("*/*.npz")))
    decoded.clear()
    found, _ = predict(tiny_run, field, n_jobs)
    assert len(found) == 6
    assert {"10.wav", "broken.mp3"} <= set(decoded)
    assert len(decoded) == 7 - n_kept
    shutil.rmtree(score_cache)
    for clip, expected in predict(tiny_run, field)[0].items():
        assert_same(found[clip], expected)


def test_short_recordings_are_scored_together_and_as_if_alone(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also beside one that cannot be read, and one that cannot be read to its end."""
    (tmp_path / "many").mkdir()
    for number in range(9):
        make_noise(tmp_path / "many" / f"{number}.wav", 1.0 + number / 4, number)
    (tmp_path / "many" / "3.wav").write_bytes(b"no sound")

    class HalfRead(RecordingFrames):
        def __iter__(self) -> Iterator[Tensor]:
            yield from super().__iter__()
            if self.path.name == "5.wav":
                raise DecodeError(self.path, "it ends amid a frame")

    monkeypatch.setattr(module, "RecordingFrames", HalfRead)
    score_cache, counts = tiny_run.run_paths.run_dir / "score_cache", list[int]()
    score_chunks = WindowScorer.score_chunks

    def count_chunks(scorer: WindowScorer, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        counts.append(len(chunks))
        return score_chunks(scorer, chunks)

    monkeypatch.setattr(WindowScorer, "score_chunks", count_chunks)
    alone, failed = predict(tiny_run, tmp_path / "many")
    assert {*counts} == {2, 1} and failed.keys() == {"3.wav", "5.wav"}
    shutil.rmtree(score_cache)
    monkeypatch.setattr(module, "split_into_batches", lambda tasks, _: [tasks])
    together, failed_together = predict(tiny_run, tmp_path / "many")
    assert failed_together == failed
    assert max(counts) > 4
    assert together.keys() == alone.keys()
    for clip, expected in alone.items():
        np.testing.assert_allclose(together[clip].windows, expected.windows, rtol=1e-5)
        np.testing.assert_array_equal(together[clip].start_s, expected.start_s)


def test_batches_of_recordings_are_bounded_in_number_and_size() -> None:
    def sizes(n_bytes: Sequence[int], n_parallel: int) -> list[int]:
        entries = [CachedRecording(Path("a"), Path("b"), f"{size}:1:2:3:4") for size in n_bytes]
        tasks = [RecordingTask(entry, Path(), Prediction(), FEATURES, LIMITS, "cpu", 1) for entry in entries]
        batches = split_into_batches(tasks, n_parallel)
        assert [task for batch in batches for task in batch] == tasks
        return [len(batch) for batch in batches]

    assert sizes([1_000] * 100, 2) == [8] * 12 + [4]
    assert sizes([1_000] * 20, 2) == [2] * 10
    assert sizes([1_000] * 5, 2) == [1] * 5
    assert sizes([3 << 20] * 100, 2) == [1] * 100
    assert sizes([1 << 20] * 100, 2) == [4] * 25
    assert sizes([], 2) == []


def test_a_link_and_its_target_are_decoded_once(tiny_run: TinyRun, field: Path, decoded: list[str]) -> None:
    (field / "link.wav").symlink_to("08.wav")
    (field / "broken link.mp3").symlink_to("broken.mp3")
    found, failed = predict(tiny_run, field)
    assert len(decoded) == 7
    assert_same(found["link.wav"], found["08.wav"])
    assert sorted(failed) == ["broken link.mp3", "broken.mp3"]


def test_links_in_a_circle_cost_themselves_alone(tiny_run: TinyRun, field: Path) -> None:
    (field / "loop.wav").symlink_to("loop.wav")
    found, failed = predict(tiny_run, field)
    assert len(found) == 6
    assert "symbolic links" in failed["loop.wav"]


def test_a_recording_that_changes_while_it_is_read_is_not_kept(
    tiny_run: TinyRun, field: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:

    class ReplacedMeanwhile(RecordingFrames):
        def __iter__(self) -> Iterator[Tensor]:
            yield from super().__iter__()
            if self.path.name == "08.wav":
                shutil.copy(field / "day 2" / "11.wav", self.path)

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(module, "RecordingFrames", ReplacedMeanwhile)
        found, failed = predict(tiny_run, field)
    assert len(found) == 5
    assert failed["08.wav"] == "it changed while it was read: run the same command again"
    decoded.clear()
    found, _ = predict(tiny_run, field)
    assert sorted(decoded) == ["08.wav", "broken.mp3"]
    assert_same(found["08.wav"], found["day 2/11.wav"])


def test_recordings_are_found_and_named(field: Path, tmp_path: Path) -> None:
    assert list(find_input_files(field))[:4] == ["06.wav", "07.wav", "08.wav", "broken.mp3"]
    assert list(find_input_files(field / "notes.txt")) == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    for source, words in ((tmp_path / "none", "not there"), (tmp_path / "empty", "no recording")):
        with pytest.raises(UserError, match=words):
            find_input_files(source)


def test_recordings_are_found_from_the_folder_of_the_moment(
    tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(field)
    found, failed = predict(tiny_run, Path("day 2"))
    assert (list(found), failed) == (["09.wav", "10.wav", "11.wav"], {})


def test_a_name_that_is_no_text_costs_no_other_recording(tiny_run: TinyRun, field: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(field) + b"/bad\xff.wav"))
    odd.write_bytes((field / "08.wav").read_bytes())
    found, _ = predict(tiny_run, field)
    assert len(found) == 7
    assert_same(found["bad\\xff.wav"], found["08.wav"])


def test_without_a_process_to_decode_all_ends_in_a_line(
    tiny_run: TinyRun, field: Path, faulty_decoders: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr("core.sandbox.subprocess.Popen", refuse)
    with pytest.raises(UserError, match=r"no process can be started \(Resource temporarily unavailable\)"):
        predict(tiny_run, field, 2)


def write_faulty(folder: Path, names: Sequence[str], seconds: float = 4.0) -> Path:
    """Some recordings of noise, of eight blocks each."""
    folder.mkdir()
    for seed, name in enumerate(names):
        make_noise(folder / name, seconds, seed)
    return folder


def test_what_costs_a_sandbox_costs_one_recording(
    tiny_run: TinyRun, tmp_path: Path, faulty_decoders: None, short_stall: float
) -> None:
    names = ["a.wav", "crashes.wav", "crashes3.wav", "hangs2.wav", "has_a_fault2.wav", "needs_memory1.wav", "z.wav"]
    folder = write_faulty(tmp_path / "mixed", names)
    found, failed = predict(tiny_run, folder, 2)
    assert failed == {
        "crashes.wav": "it ended its process (SIGSEGV)",
        "crashes3.wav": "it ended its process (SIGSEGV)",
        "hangs2.wav": f"it hung: no progress for {short_stall:g} s",
        "has_a_fault2.wav": "ZeroDivisionError: division by zero",
        "needs_memory1.wav": "it needs more memory than its process may use",
    }
    assert list(found) == ["a.wav", "z.wav"]
    for name in found:
        shutil.copy(folder / name, folder / f"same as {name}")
    again, _ = predict(tiny_run, folder, 2)
    for name in found:
        assert_same(again[f"same as {name}"], found[name])


def test_a_decoder_that_is_killed_costs_no_recording(tiny_run: TinyRun, tmp_path: Path, faulty_decoders: None) -> None:
    folder = write_faulty(tmp_path / "killed", ["dies_once0.wav", "dies_once5.wav"])
    found, failed = predict(tiny_run, folder)
    assert failed == {}
    assert len(list(folder.glob("*.died"))) == 2
    for name in list(found):
        shutil.copy(folder / name, folder / f"same as {name}")
    again, _ = predict(tiny_run, folder)
    for name in found:
        assert_same(again[f"same as {name}"], found[name])


def test_what_every_recording_meets_is_no_fault_of_theirs(
    tiny_run: TinyRun, tmp_path: Path, faulty_decoders: None
) -> None:
    folder = write_faulty(tmp_path / "faults", [f"has_a_fault{at}.wav" for at in range(3)])
    with pytest.raises(UserError, match=r"every recording fails, so the fault is not theirs.*division by zero"):
        predict(tiny_run, folder)
    make_noise(folder / "good.wav", 1.0)
    predict(tiny_run, folder / "good.wav")
    found, failed = predict(tiny_run, folder)
    assert (list(found), len(failed)) == (["good.wav"], 3)


def test_the_limits_of_a_decoder_hold(tiny_run: TinyRun, tmp_path: Path) -> None:
    """Whatever a recording needs, it is the one who reads it that is told."""
    make_noise(tmp_path / "noise.wav", 1.0)
    found, failed = predict(tiny_run, tmp_path / "noise.wav", limits=SandboxLimits(max_memory_bytes=1 << 20))
    assert (found, list(failed)) == ({}, ["noise.wav"])


@pytest.fixture
def scorer(tiny_run: TinyRun) -> WindowScorer:
    return load_run(tiny_run.run_paths.run_dir, PREDICTION).tagger().scorer


def test_windows_of_a_recording_are_scored_in_chunks(
    scorer: WindowScorer, tmp_path: Path, faulty_decoders: None
) -> None:
    n_scored: list[int] = []

    def score_chunk(chunk: WindowChunk, n: int) -> WindowScores:
        n_scored.append(n)
        return scorer.score_chunks([chunk])[0]

    path = make_noise(tmp_path / "noise.wav", 40.0)
    scores = score_recording(path, scorer, FEATURES, LIMITS, CPU, score_chunk=score_chunk)
    assert n_scored == [0, 64, 128]
    assert (scores.start_s, scores.duration_s, len(scores.windows.scores)) == (0.0, 40.0, 160)


def test_a_recording_that_is_too_long_says_so(scorer: WindowScorer, tmp_path: Path) -> None:
    path = make_noise(tmp_path / "noise.wav", 3.0)

    def score(max_duration_s: float) -> RecordingScores:
        return score_recording(
            *(path, scorer, FEATURES, LIMITS, CPU),
            max_duration_s=max_duration_s,
            score_chunk=lambda chunk, _: scorer.score_chunks([chunk])[0],
        )

    score(3.0)
    with pytest.raises(DecodeError, match=r"it is longer than 0\.0") as refused:
        score(2.99)
    assert refused.value.path == path


@pytest.mark.parametrize("name", ["hangs.wav", "noise.wav"])
def test_a_recording_that_nobody_wants_any_more_is_given_up(
    scorer: WindowScorer, tmp_path: Path, faulty_decoders: None, name: str
) -> None:
    """Whether the decoder hangs, or has frames ready at any time."""
    path, cancelled = make_noise(tmp_path / name, 600.0), threading.Event()
    timer = threading.Timer(1.0, cancelled.set)
    n_scored = 0

    def score_chunk(chunk: WindowChunk, n: int) -> WindowScores:
        nonlocal n_scored
        n_scored = n
        cancelled.wait(0.5)
        return scorer.score_chunks([chunk])[0]

    timer.start()
    with pytest.raises(Cancelled):
        score_recording(path, scorer, FEATURES, LIMITS, CPU, score_chunk=score_chunk, cancelled=cancelled)
    timer.join()
    assert n_scored <= 4 * 64
