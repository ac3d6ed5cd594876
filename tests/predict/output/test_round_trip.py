"""What is exported is read back as labels in time, to the same events."""

import tempfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.errors import UserError
from predict.output.annotation_formats import FORMATS, Exported
from predict.output.detections import Detection
from preprocess.dataset.annotations.reader import read_annotations
from preprocess.dataset.discovery import join_clean_labels, normalize_label
from preprocess.dataset.labels import check_vocabulary
from train.evaluate.score_table import ScoreTable

ANNOTATION_FORMATS = ("audacity", "raven", "raven_merged", "kaleidoscope", "dcase")
Event = tuple[str, float, float, str]


def is_label(text: str) -> bool:
    """Whether a vocabulary may have it."""
    try:
        return join_clean_labels("it", check_vocabulary([text], "it")) == text
    except UserError:
        return False


def is_name(text: str) -> bool:
    """Whether a file may have it, and it is in one line and one form of Unicode."""
    return text.splitlines() == [normalize_label(text)] and "/" not in text and "\\" not in text


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["C"]) | st.sampled_from("\"',|\\#=%é雨~ ."), max_size=9
)
LABELS = st.builds("{}{}{}".format, st.sampled_from("a雨\"\\#'="), WORDS, st.sampled_from("a)é, x")).filter(is_label)
NAMES = st.builds("x{}y".format, WORDS).filter(is_name)
CLIPS = st.lists(st.lists(NAMES, min_size=1, max_size=3).map("/".join), min_size=1, max_size=4, unique=True)
TIMES = st.integers(0, 90_000 * 10**6).map(lambda microseconds: microseconds / 10**6)


@st.composite
def exports(draw: st.DrawFn) -> Exported:
    """Detections of some recordings, of lengths as files have them, times to the microsecond."""
    labels = draw(st.lists(LABELS, min_size=1, max_size=3, unique=True))
    detections, durations_s = {}, {}
    for clip in draw(CLIPS):
        clip, found = f"{clip}.wav", []
        for start_s, length_s in draw(st.lists(st.tuples(TIMES, TIMES), max_size=3)):
            end_s = round(start_s + max(length_s, 0.001), 6)
            found.append(Detection(start_s, end_s, draw(st.sampled_from(labels)), draw(st.floats(0, 1))))
        detections[clip] = found
        durations_s[clip] = max([1.0, *(one.end_s for one in found)]) + draw(st.integers(0, 44_100)) / 44_100
    scores = ScoreTable(list(detections), labels, np.zeros((len(detections), len(labels)), np.float32))
    recordings = {clip: Path("/field trip", clip) for clip in detections}
    return Exported(detections, scores, recordings, durations_s, 8_000.0, audacity_scores=draw(st.booleans()))


def read_back(exported: Exported, name: str) -> list[Event]:
    """The events of a format's file or folder."""
    with tempfile.TemporaryDirectory() as folder:
        filename, write = FORMATS[name]
        write(Path(folder) / filename, exported)
        events = read_annotations(Path(folder) / filename, recordings=exported.recordings).events
    return sorted(zip(events["fname"], events["start_s"], events["end_s"], events["label"], strict=True))


@settings(max_examples=25, deadline=None)
@given(exports())
def test_exports_are_read_back_to_the_same_events(exported: Exported) -> None:
    expected = sorted((clip, one.start_s, one.end_s, one.label) for clip, one in exported.rows())
    for name in ANNOTATION_FORMATS:
        found = read_back(exported, name)
        assert [(clip, label) for clip, _, _, label in found] == [(clip, label) for clip, _, _, label in expected], name
        times, expected_times = ([event[1:3] for event in events] for events in (found, expected))
        np.testing.assert_allclose(times, expected_times, rtol=0, atol=2.1e-6, err_msg=name)


@pytest.mark.parametrize("name", ANNOTATION_FORMATS)
def test_tabs_and_line_breaks_cost_no_event(name: str) -> None:
    """In tables with tabs they become spaces."""
    exported = Exported(
        {"day\t1/a\nb.wav": [Detection(0.5, 1.0, "two\twords", 0.5)], "é.wav": []},
        ScoreTable(["day\t1/a\nb.wav", "é.wav"], ["two\twords"], np.zeros((2, 1), np.float32)),
        {clip: Path("/field", clip) for clip in ("day\t1/a\nb.wav", "é.wav")},
        {"day\t1/a\nb.wav": 2.0, "é.wav": 1.0},
        8_000.0,
    )
    clips = {
        clip if name in ("audacity", "raven", "kaleidoscope") else clip.replace("\t", " ").replace("\n", " ")
        for clip in exported.detections
    }
    with tempfile.TemporaryDirectory() as folder:
        filename, write = FORMATS[name]
        write(Path(folder) / filename, exported)
        events = read_annotations(Path(folder) / filename, recordings=clips).events
    assert events[["start_s", "end_s"]].to_numpy().tolist() == [[0.5, 1.0]]
    assert events["label"].tolist() == ["two\twords" if name == "kaleidoscope" else "two words"]
    assert set(events["fname"]) == clips - {"é.wav"}
