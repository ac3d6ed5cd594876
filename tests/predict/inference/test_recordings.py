"""make predict INPUT=..., by its command line: recordings of no dataset, in order, resumable, one crash at a time."""

import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.errors import UserError
from core.file_lock import file_lock
from predict.decoding.decoder_pool import DecoderPool, DecodingJob
from predict.decoding.messages import DecodingFinished
from predict.inference.input_files import find_input_files, input_suffix
from predict.inference.score_cache import ScoreCache, open_score_cache
from predict.inference.tagger import Tagger, WindowScores, load_run
from predict.inference.windowing import WindowChunk
from predict.run import main
from recipe import Prediction
from tests.predict.conftest import TinyRun
from train.evaluate.score_table import read_scores

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)


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


def output_path(tiny_run: TinyRun, suffix: str = ".csv") -> Path:
    return tiny_run.run_paths.submission(f"_on_field_trip{suffix}")


def track_decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that are decoded, filled as they are asked for."""
    decoded: list[str] = []
    original = DecoderPool.decode_in_order

    def noted(self: DecoderPool, paths: Sequence[str]) -> Iterator[DecodingJob]:
        decoded.extend(paths)
        return original(self, paths)

    monkeypatch.setattr(DecoderPool, "decode_in_order", noted)
    return decoded


def test_recordings_score_as_the_same_clips_of_a_dataset(tiny_run: TinyRun, field: Path) -> None:
    main(tiny_run.arguments)
    command = [*tiny_run.arguments, "--input", str(field), "--jobs", "2", "--export", "json", "audacity"]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "predict.run", *command],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found, expected = read_scores(output_path(tiny_run)), read_scores(tiny_run.run_paths.submission())
    assert found.clips == ["06.wav", "07.wav", "08.wav", "day 2/09.wav", "day 2/10.wav", "day 2/11.wav"]
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    times = ["start_s", "end_s", "label"]
    paths = (output_path(tiny_run, "_windows.csv"), tiny_run.run_paths.submission("_windows.csv"))
    windows, of_dataset = (pd.read_csv(path) for path in paths)
    pd.testing.assert_frame_equal(windows[times], of_dataset[times])
    failed = pd.read_csv(output_path(tiny_run, "_failed.csv"))
    assert failed["clip"].tolist() == ["broken.mp3"]
    assert output_path(tiny_run, ".json").exists()
    assert (output_path(tiny_run, "_audacity") / "day 2" / "11.wav.txt").exists()


def test_cached_recordings_are_not_scored_again(
    tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*tiny_run.arguments, "--input", str(field), "--jobs", "1"]
    main(arguments)
    first = output_path(tiny_run).read_bytes()
    (field / "12.wav").write_bytes((field / "08.wav").read_bytes())
    decoded = track_decoded(monkeypatch)
    main(arguments)
    assert [Path(path).name for path in decoded] == ["12.wav", "broken.mp3"]
    assert output_path(tiny_run).read_bytes() != first


def test_an_interrupted_recording_goes_on_at_its_last_chunk(
    tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("predict.inference.windowing.CHUNK_WINDOWS", 2)
    monkeypatch.setattr("predict.inference.batching.MIN_BATCH_WINDOWS", {"cpu": 2})
    arguments = [*tiny_run.arguments, "--input", str(field / "day 2" / "11.wav"), "--jobs", "1"]
    scored: list[int] = []
    original = Tagger.score_chunks

    def counted(self: Tagger, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        if len(scored) == stop_at:
            raise KeyboardInterrupt
        scored.extend(len(chunk.starts) for chunk in chunks)
        return original(self, chunks)

    monkeypatch.setattr(Tagger, "score_chunks", counted)
    stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    assert not tiny_run.run_paths.submission("_on_11.csv").exists()
    stop_at = -1
    scored.clear()
    main(arguments)
    assert scored == [2] * 2  # eight windows in four spans, two of which had been heard
    one = pd.read_csv(tiny_run.run_paths.submission("_on_11_windows.csv"))
    shutil.rmtree(tiny_run.run_paths.run_dir / "score_cache")
    main(arguments)
    pd.testing.assert_frame_equal(one, pd.read_csv(tiny_run.run_paths.submission("_on_11_windows.csv")))


def open_cache(tiny_run: TinyRun) -> ScoreCache:
    return open_score_cache(
        tiny_run.run_paths.run_dir / "score_cache", load_run(tiny_run.run_paths.run_dir, PREDICTION)
    )


def window_scores_at(start: int, value: float = 0.0) -> WindowScores:
    """Three windows, two frames apart."""
    return WindowScores(np.arange(start, start + 6, 2), np.full((3, 3), value, np.float32))


def test_an_incomplete_chunk_is_scored_again(tiny_run: TinyRun, field: Path) -> None:
    score_cache = open_cache(tiny_run)
    cached = score_cache.lookup(field / "06.wav")
    parts = [window_scores_at(0, 0.1), window_scores_at(6, 0.2)]
    for part in parts:
        cached.add(part)
    content = cached.partial_path.read_bytes()
    flipped = bytes([content[-1] ^ 1])
    for damaged in (content[:-1], content[: len(content) // 2 + 10], content[:-1] + flipped):
        cached.partial_path.write_bytes(damaged)
        cached = score_cache.lookup(field / "06.wav")
        (first,) = cached.load_partial()
        np.testing.assert_array_equal(first.scores, parts[0].scores)
        cached.add(parts[1])
        assert cached.partial_path.read_bytes() == content
    assert cached.load_finished() is None
    written, finished = cached.finish(DecodingFinished(-0.5, 7.0)), cached.load_finished()
    assert written and finished
    np.testing.assert_array_equal(
        finished.window_scores[0].scores, np.concatenate([part.scores for part in written.window_scores])
    )
    assert (finished.start_s, finished.duration_s) == (-0.5, 7.0)
    assert not cached.partial_path.exists()


def test_chunks_out_of_sequence_are_scored_again(tiny_run: TinyRun, field: Path) -> None:
    score_cache = open_cache(tiny_run)
    for starts, n_good in (([0, 6, 12], 3), ([0, 6, 6], 2), ([0, 12], 1), ([6, 12], 0), ([0, 0, 6, 6], 1)):
        cached = score_cache.lookup(field / "06.wav")
        cached.partial_path.unlink(missing_ok=True)
        for start in starts:
            cached.add(window_scores_at(start))
        loaded = score_cache.lookup(field / "06.wav").load_partial()
        assert [int(each.start_frames[0]) for each in loaded] == starts[:n_good]


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_corrupt_cache_file_is_ignored(tiny_run: TinyRun, field: Path, data: st.DataObject) -> None:
    cached = open_cache(tiny_run).lookup(field / "06.wav")
    cached.add(window_scores_at(0))
    assert not cached.partial_path.exists()
    cached.finish(DecodingFinished(0.0, 7.0))
    content = cached.path.read_bytes()
    at, bit = data.draw(st.integers(0, len(content) - 1), "at"), data.draw(st.integers(0, 7), "bit")
    for damaged in (content[:at], content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :]):
        cached.path.write_bytes(damaged)
        assert cached.load_finished() is None


def test_two_at_once_of_one_run_are_refused(tiny_run: TinyRun, field: Path) -> None:
    arguments = [*tiny_run.arguments, "--input", str(field / "06.wav"), "--jobs", "1"]
    with (
        file_lock(tiny_run.run_paths.run_dir / "score_cache" / ".lock", "make predict"),
        pytest.raises(UserError, match="score_cache: another make predict INPUT= of run tiny is at work"),
    ):
        main(arguments)
    main(arguments)


def test_a_link_and_its_target_are_scored_once(tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (field / "link.wav").symlink_to("08.wav")
    (field / "broken link.mp3").symlink_to("broken.mp3")
    decoded = track_decoded(monkeypatch)
    main([*tiny_run.arguments, "--input", str(field), "--jobs", "1"])
    assert len(decoded) == 7
    scores = pd.read_csv(output_path(tiny_run)).set_index("clip")
    np.testing.assert_array_equal(scores.loc["link.wav"], scores.loc["08.wav"])
    assert pd.read_csv(output_path(tiny_run, "_failed.csv"))["clip"].tolist() == ["broken link.mp3", "broken.mp3"]


def test_links_in_a_circle_cost_themselves_alone(tiny_run: TinyRun, field: Path) -> None:
    (field / "loop.wav").symlink_to("loop.wav")
    main([*tiny_run.arguments, "--input", str(field), "--jobs", "1"])
    assert len(pd.read_csv(output_path(tiny_run))) == 6
    failed = pd.read_csv(output_path(tiny_run, "_failed.csv")).set_index("clip")["reason"]
    assert "symbolic links" in failed["loop.wav"]


def test_a_recording_that_changes_during_decoding_is_not_cached(
    tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*tiny_run.arguments, "--input", str(field), "--jobs", "1"]
    original = DecoderPool.decode_in_order

    def replaced_meanwhile(self: DecoderPool, paths: Sequence[str]) -> Iterator[DecodingJob]:
        for job in original(self, paths):
            if job.path.endswith("08.wav"):  # decoded long ago
                shutil.copy(field / "day 2" / "11.wav", job.path)
            yield job

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(DecoderPool, "decode_in_order", replaced_meanwhile)
        main(arguments)
    failed = pd.read_csv(output_path(tiny_run, "_failed.csv")).set_index("clip")["reason"]
    assert failed["08.wav"] == "it changed while it was heard: run the same command again"
    main(arguments)
    scores = pd.read_csv(output_path(tiny_run)).set_index("clip")
    np.testing.assert_array_equal(scores.loc["08.wav"], scores.loc["day 2/11.wav"])


def test_a_score_cache_belongs_to_weights_and_windows(tiny_run: TinyRun) -> None:
    def folder(prediction: Prediction) -> Path:
        return open_score_cache(tiny_run.run_paths.run_dir, load_run(tiny_run.run_paths.run_dir, prediction)).folder

    first = folder(PREDICTION)
    assert folder(Prediction(window_seconds=0.5, hop_seconds=0.25, pooling="max")) == first
    assert folder(Prediction(window_seconds=0.5, hop_seconds=0.2)) != first
    tiny_run.write_network(fold=1, seed=1)
    assert folder(PREDICTION) != first


def test_recordings_are_found_and_named(field: Path, tmp_path: Path) -> None:
    assert [each.clip for each in find_input_files(field)][:4] == ["06.wav", "07.wav", "08.wav", "broken.mp3"]
    assert [each.clip for each in find_input_files(field / "notes.txt")] == ["notes.txt"]
    assert input_suffix(field) == "_on_field_trip"
    assert input_suffix(field / "day 2" / "09.wav") == "_on_09"
    (tmp_path / "empty").mkdir()
    for source, words in ((tmp_path / "none", "not there"), (tmp_path / "empty", "no recording")):
        with pytest.raises(UserError, match=words):
            find_input_files(source)


def test_a_name_that_is_no_text_costs_no_other_recording(tiny_run: TinyRun, field: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(field) + b"/bad\xff.wav"))
    odd.write_bytes((field / "08.wav").read_bytes())
    main([*tiny_run.arguments, "--input", str(field), "--jobs", "1"])
    scores = pd.read_csv(output_path(tiny_run)).set_index("clip")
    assert len(scores) == 7
    np.testing.assert_array_equal(scores.loc["bad\\xff.wav"], scores.loc["08.wav"])


def test_no_readable_recording_at_all_is_refused(tiny_run: TinyRun, field: Path) -> None:
    with pytest.raises(UserError, match=r"broken\.mp3"):
        main([*tiny_run.arguments, "--input", str(field / "broken.mp3"), "--jobs", "1"])
    assert not tiny_run.run_paths.submissions.exists()


def test_without_a_process_to_decode_the_command_ends(
    tiny_run: TinyRun, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DecoderPool.__init__, "__defaults__", (("/no/such/program",), math.inf))
    with pytest.raises(UserError, match="cannot start: No such file"):
        main([*tiny_run.arguments, "--input", str(field), "--jobs", "2"])
