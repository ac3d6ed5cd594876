"""Events against the lengths of recordings: one beyond the end is named, unless the recording was cut short."""

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from preprocess.audio.downmix import Downmix
from preprocess.build.event_times import fit_to_recordings
from preprocess.store.schema import Row

EVENTS = [("a", 1.0, 2.0, "x", "t.txt line 1"), ("b", 4.0, 5.05, "x", "t.txt line 2"), ("gone", 9.0, 99.0, "x", "t 3")]


def cancelled_channels() -> Downmix:
    downmix = Downmix()
    downmix(np.array([[1.0], [-1.0]]))
    return downmix


def table_of(*events: tuple[str, float, float, str, str]) -> pd.DataFrame:
    return pd.DataFrame(events, columns=["clip", "start_s", "end_s", "label", "where"])


def rows_of(warning: str = "") -> list[Row]:
    return [Row(clip, variant, "", 0.0, 5.0, 50, "", warning) for clip in "ab" for variant in (0, 1)]


def test_times_that_were_rounded_end_with_the_recording() -> None:
    fitted, lines = fit_to_recordings(table_of(*EVENTS), rows_of())
    assert fitted["end_s"].tolist() == [2.0, 5.0, 99.0]
    assert not lines


@pytest.mark.parametrize("warning", ["", *cancelled_channels().warnings()])
def test_an_event_beyond_its_recording_is_named(warning: str) -> None:
    with pytest.raises(UserError, match=r"t.txt line 4: the event ends at 5.2 s, and b after 5.000 s"):
        fit_to_recordings(table_of(*EVENTS, ("b", 4.9, 5.2, "x", "t.txt line 4")), rows_of(warning))


def test_what_lies_behind_the_readable_part_is_left_out() -> None:
    events = table_of(*EVENTS, ("b", 4.9, 7.0, "x", ""), ("b", 6.0, 7.0, "x", ""), ("a", 6.0, 6.0, "x", ""))
    fitted, lines = fit_to_recordings(events, rows_of("read in part"))
    assert fitted["end_s"].tolist() == [2.0, 5.0, 99.0, 5.0]
    assert lines == ["3 events lie behind the part of 2 recordings that could be read: cut or left out"]
