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

from core.errors import BadInput
from core.file_lock import locked
from predict.decoding.decoder_pool import Hearing, Listener
from predict.decoding.messages import End
from predict.inference.input_files import find_recordings, suffix_of
from predict.inference.score_cache import Journal, open_journal
from predict.inference.tagger import Heard, Tagger, load_run
from predict.inference.windowing import Span
from predict.run import main
from recipe import Prediction
from tests.predict.conftest import Home
from train.evaluate.score_table import read_scores

PREDICTION = Prediction(window_seconds=0.5, hop_seconds=0.25)


@pytest.fixture
def field(home: Home, tmp_path: Path) -> Path:
    """The home's test recordings, some in a folder of their own, and one that cannot be read."""
    folder = tmp_path / "field trip"
    (folder / "day 2").mkdir(parents=True)
    for number in range(6, 12):
        shutil.copy(home.table["path"].iloc[number], folder / ("day 2" if number > 8 else "") / f"{number:02}.wav")
    (folder / "broken.mp3").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("not a recording")
    return folder


def suffixed(home: Home, suffix: str = ".csv") -> Path:
    return home.places.submission(f"_on_field_trip{suffix}")


def asked_for(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The recordings that are decoded, filled as they are asked for."""
    asked: list[str] = []
    original = Listener.listen

    def noted(self: Listener, paths: Sequence[str]) -> Iterator[Hearing]:
        asked.extend(paths)
        return original(self, paths)

    monkeypatch.setattr(Listener, "listen", noted)
    return asked


def test_recordings_score_as_the_same_clips_of_a_dataset(home: Home, field: Path) -> None:
    main(home.arguments)
    command = [*home.arguments, "--input", str(field), "--jobs", "2", "--export", "json", "audacity"]
    ended = subprocess.run(
        [sys.executable, "-W", "error", "-m", "predict.run", *command],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    found, expected = read_scores(suffixed(home)), read_scores(home.places.submission())
    assert found.clips == ["06.wav", "07.wav", "08.wav", "day 2/09.wav", "day 2/10.wav", "day 2/11.wav"]
    np.testing.assert_allclose(found.values, expected.values, atol=1e-6)
    times = ["start_s", "end_s", "label"]
    paths = (suffixed(home, "_windows.csv"), home.places.submission("_windows.csv"))
    windows, of_dataset = (pd.read_csv(path) for path in paths)
    pd.testing.assert_frame_equal(windows[times], of_dataset[times])
    failed = pd.read_csv(suffixed(home, "_failed.csv"))
    assert failed["clip"].tolist() == ["broken.mp3"]
    assert suffixed(home, ".json").exists()
    assert (suffixed(home, "_audacity") / "day 2" / "11.wav.txt").exists()


def test_what_was_heard_is_not_heard_again(home: Home, field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = [*home.arguments, "--input", str(field), "--jobs", "1"]
    main(arguments)
    first = suffixed(home).read_bytes()
    (field / "12.wav").write_bytes((field / "08.wav").read_bytes())
    asked = asked_for(monkeypatch)
    main(arguments)
    assert [Path(path).name for path in asked] == ["12.wav", "broken.mp3"]
    assert suffixed(home).read_bytes() != first


def test_an_interrupted_recording_goes_on_at_its_last_span(
    home: Home, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("predict.inference.windowing.WINDOWS_AT_ONCE", 2)
    monkeypatch.setattr("predict.inference.batching.BATCH_WINDOWS", {"cpu": 2})
    arguments = [*home.arguments, "--input", str(field / "day 2" / "11.wav"), "--jobs", "1"]
    scored: list[int] = []
    original = Tagger.score

    def counted(self: Tagger, spans: Sequence[Span]) -> list[Heard]:
        if len(scored) == stop_at:
            raise KeyboardInterrupt
        scored.extend(len(span.starts) for span in spans)
        return original(self, spans)

    monkeypatch.setattr(Tagger, "score", counted)
    stop_at = 2
    with pytest.raises(KeyboardInterrupt):
        main(arguments)
    assert not home.places.submission("_on_11.csv").exists()
    stop_at = -1
    scored.clear()
    main(arguments)
    assert scored == [2] * 2  # eight windows in four spans, two of which had been heard
    one = pd.read_csv(home.places.submission("_on_11_windows.csv"))
    shutil.rmtree(home.places.run_home / "heard")
    main(arguments)
    pd.testing.assert_frame_equal(one, pd.read_csv(home.places.submission("_on_11_windows.csv")))


def kept(home: Home) -> Journal:
    return open_journal(home.places.run_home / "heard", load_run(home.places.run_home, PREDICTION))


def span(start: int, value: float = 0.0) -> Heard:
    """Three windows, two frames apart."""
    return Heard(np.arange(start, start + 6, 2), np.full((3, 3), value, np.float32))


def test_a_span_that_is_not_whole_is_heard_again(home: Home, field: Path) -> None:
    journal = kept(home)
    entry = journal.entry(field / "06.wav")
    parts = [span(0, 0.1), span(6, 0.2)]
    for part in parts:
        entry.add(part)
    whole = entry.draft.read_bytes()
    flipped = bytes([whole[-1] ^ 1])
    for damaged in (whole[:-1], whole[: len(whole) // 2 + 10], whole[:-1] + flipped):
        entry.draft.write_bytes(damaged)
        entry = journal.entry(field / "06.wav")
        (first,) = entry.begun()
        np.testing.assert_array_equal(first.scores, parts[0].scores)
        entry.add(parts[1])
        assert entry.draft.read_bytes() == whole
    assert entry.finished() is None
    written, finished = entry.finish(End(-0.5, 7.0)), entry.finished()
    assert written and finished
    np.testing.assert_array_equal(finished.heard[0].scores, np.concatenate([part.scores for part in written.heard]))
    assert (finished.start_s, finished.duration_s) == (-0.5, 7.0)
    assert not entry.draft.exists()


def test_spans_that_do_not_go_on_are_heard_again(home: Home, field: Path) -> None:
    journal = kept(home)
    for starts, n_good in (([0, 6, 12], 3), ([0, 6, 6], 2), ([0, 12], 1), ([6, 12], 0), ([0, 0, 6, 6], 1)):
        entry = journal.entry(field / "06.wav")
        entry.draft.unlink(missing_ok=True)
        for start in starts:
            entry.add(span(start))
        assert [int(each.start_frames[0]) for each in journal.entry(field / "06.wav").begun()] == starts[:n_good]


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_page_is_not_taken(home: Home, field: Path, data: st.DataObject) -> None:
    entry = kept(home).entry(field / "06.wav")
    entry.add(span(0))
    assert not entry.draft.exists()
    entry.finish(End(0.0, 7.0))
    whole = entry.path.read_bytes()
    at, bit = data.draw(st.integers(0, len(whole) - 1), "at"), data.draw(st.integers(0, 7), "bit")
    for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 1 << bit]) + whole[at + 1 :]):
        entry.path.write_bytes(damaged)
        assert entry.finished() is None


def test_two_at_once_of_one_run_are_refused(home: Home, field: Path) -> None:
    arguments = [*home.arguments, "--input", str(field / "06.wav"), "--jobs", "1"]
    with (
        locked(home.places.run_home / "heard" / ".lock", "make predict"),
        pytest.raises(BadInput, match="heard: another make predict INPUT= of run tiny is at work"),
    ):
        main(arguments)
    main(arguments)


def test_a_link_and_its_target_are_heard_once(home: Home, field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (field / "link.wav").symlink_to("08.wav")
    (field / "broken link.mp3").symlink_to("broken.mp3")
    asked = asked_for(monkeypatch)
    main([*home.arguments, "--input", str(field), "--jobs", "1"])
    assert len(asked) == 7
    scores = pd.read_csv(suffixed(home)).set_index("clip")
    np.testing.assert_array_equal(scores.loc["link.wav"], scores.loc["08.wav"])
    assert pd.read_csv(suffixed(home, "_failed.csv"))["clip"].tolist() == ["broken link.mp3", "broken.mp3"]


def test_links_in_a_circle_cost_themselves_alone(home: Home, field: Path) -> None:
    (field / "loop.wav").symlink_to("loop.wav")
    main([*home.arguments, "--input", str(field), "--jobs", "1"])
    assert len(pd.read_csv(suffixed(home))) == 6
    failed = pd.read_csv(suffixed(home, "_failed.csv")).set_index("clip")["reason"]
    assert "symbolic links" in failed["loop.wav"]


def test_a_recording_that_changes_while_it_is_heard_is_not_kept(
    home: Home, field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = [*home.arguments, "--input", str(field), "--jobs", "1"]
    original = Listener.listen

    def replaced_meanwhile(self: Listener, paths: Sequence[str]) -> Iterator[Hearing]:
        for hearing in original(self, paths):
            if hearing.path.endswith("08.wav"):  # decoded long ago
                shutil.copy(field / "day 2" / "11.wav", hearing.path)
            yield hearing

    with monkeypatch.context() as meanwhile:
        meanwhile.setattr(Listener, "listen", replaced_meanwhile)
        main(arguments)
    failed = pd.read_csv(suffixed(home, "_failed.csv")).set_index("clip")["reason"]
    assert failed["08.wav"] == "it changed while it was heard: run the same command again"
    main(arguments)
    scores = pd.read_csv(suffixed(home)).set_index("clip")
    np.testing.assert_array_equal(scores.loc["08.wav"], scores.loc["day 2/11.wav"])


def test_a_journal_belongs_to_weights_and_windows(home: Home) -> None:
    def folder(prediction: Prediction) -> Path:
        return open_journal(home.places.run_home, load_run(home.places.run_home, prediction)).folder

    first = folder(PREDICTION)
    assert folder(Prediction(window_seconds=0.5, hop_seconds=0.25, pooling="max")) == first
    assert folder(Prediction(window_seconds=0.5, hop_seconds=0.2)) != first
    home.write_network(fold=1, seed=1)
    assert folder(PREDICTION) != first


def test_recordings_are_found_and_named(field: Path, tmp_path: Path) -> None:
    assert [each.clip for each in find_recordings(field)][:4] == ["06.wav", "07.wav", "08.wav", "broken.mp3"]
    assert [each.clip for each in find_recordings(field / "notes.txt")] == ["notes.txt"]
    assert suffix_of(field) == "_on_field_trip"
    assert suffix_of(field / "day 2" / "09.wav") == "_on_09"
    (tmp_path / "empty").mkdir()
    for source, words in ((tmp_path / "none", "not there"), (tmp_path / "empty", "no recording")):
        with pytest.raises(BadInput, match=words):
            find_recordings(source)


def test_a_name_that_is_no_text_costs_no_other_recording(home: Home, field: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(field) + b"/bad\xff.wav"))
    odd.write_bytes((field / "08.wav").read_bytes())
    main([*home.arguments, "--input", str(field), "--jobs", "1"])
    scores = pd.read_csv(suffixed(home)).set_index("clip")
    assert len(scores) == 7
    np.testing.assert_array_equal(scores.loc["bad\\xff.wav"], scores.loc["08.wav"])


def test_no_readable_recording_at_all_is_refused(home: Home, field: Path) -> None:
    with pytest.raises(BadInput, match=r"broken\.mp3"):
        main([*home.arguments, "--input", str(field / "broken.mp3"), "--jobs", "1"])
    assert not home.places.submissions.exists()


def test_without_a_process_to_decode_the_command_ends(home: Home, field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Listener.__init__, "__defaults__", (("/no/such/program",), math.inf))
    with pytest.raises(BadInput, match="cannot start: No such file"):
        main([*home.arguments, "--input", str(field), "--jobs", "2"])
