"""Tables of events: every format as its program writes it, and each way a table can be wrong."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import UserError
from preprocess.dataset.annotations.reader import read_annotations
from tests.preprocess.dataset_factories import write_files

RAVEN_HEADER = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)"


def events_of(path: Path, **keys: object) -> list[tuple[str, float, float, str]]:
    events = read_annotations(path, **keys).events  # type: ignore[arg-type]
    return list(events[["fname", "start_s", "end_s", "label"]].itertuples(index=False, name=None))


def test_a_selection_of_raven_counts_once_in_whatever_views(tmp_path: Path) -> None:
    table = (
        f"{RAVEN_HEADER}\tAnnotation\tScore\n"
        "1\tWaveform 1\t1\t0.500000\t1.250000\t0.0\t8000.0\t\t\n"
        "1\tSpectrogram 1\t1\t0.500000\t1.250000\t0.0\t8000.0\twren\t0.9\n"
        "2\tWaveform 1\t1\t3\t4\t0\t1\trobin, young\t\n"
        "2\tSpectrogram 1\t1\t3\t4\t0\t1\trobin, young\t\n"
        "3\tSpectrogram 1\t1\t3\t4\t0\t1\trobin, young"
    )
    write_files(tmp_path, {"site1/a.Table.1.selections.txt": table})
    assert events_of(tmp_path) == [
        ("site1/a", 0.5, 1.25, "wren"),
        ("site1/a", 3.0, 4.0, "robin, young"),
        ("site1/a", 3.0, 4.0, "robin, young"),
    ]
    found = read_annotations(tmp_path, recordings=["site1/a.WAV", "site2/a.WAV"])
    assert found.fnames == ["site1/a.WAV"]
    assert found.events["score"].iloc[0] == 0.9
    assert np.isnan(found.events["score"].iloc[1])
    assert found.events["where"].iloc[1] == f"{tmp_path}/site1/a.Table.1.selections.txt line 4"


def test_a_table_of_raven_over_several_recordings_counts_from_each_one_s_beginning(tmp_path: Path) -> None:
    table = (
        "Selection\tView\tBegin Time (s)\tEnd Time (s)\tBegin Path\tBegin File\tEnd File\tFile Offset (s)\tSpecies\n"
        "1\tSpectrogram 1\t2.0\t3.5\tD:\\field\\site1\\a.wav\ta.wav\ta.wav\t2.0\twren\n"
        "2\tSpectrogram 1\t61.0\t62.5\tD:\\field\\site2\\a.wav\ta.wav\ta.wav\t1.0\twren;robin\n"
    )
    path = write_files(tmp_path, {"all.txt": table}) / "all.txt"
    assert events_of(path, recordings=["site1/a.wav", "site2/a.wav"]) == [
        ("site1/a.wav", 2.0, 3.5, "wren"),
        ("site2/a.wav", 1.0, 2.5, "wren"),
        ("site2/a.wav", 1.0, 2.5, "robin"),
    ]
    assert events_of(path)[0][0] == "D:/field/site1/a.wav"


def test_a_table_of_raven_over_several_recordings_without_their_offsets_is_told(tmp_path: Path) -> None:
    header, rows = "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tSpecies", ["1\t2\t3\ta.wav\twren"]
    path = write_files(tmp_path, {"all.txt": "\n".join([header, *rows, *rows])}) / "all.txt"
    assert read_annotations(path).warnings == []
    rows.append("2\t61\t62\tb.wav\twren")
    for column, cells in (("", ["", ""]), ("\tFile Offset (s)", ["\t2", "\t"])):
        lines = [row + cell for row, cell in zip(rows, cells, strict=True)]
        (warning,) = read_annotations(write_files(tmp_path, {"all.txt": "\n".join([header + column, *lines])})).warnings
        assert warning.startswith(f"{path} line {3 if column else 2}: Begin Time (s) is read as of its own recording")


def test_events_of_one_recording_in_several_tables_are_told(tmp_path: Path) -> None:
    write_files(tmp_path, {"r.txt": "1\t2\twren\n", "other.txt": "1\t2\twren\n"})
    recordings = ["r.wav", "other.wav"]
    assert read_annotations(tmp_path, recordings=recordings).warnings == []
    table = "Begin File\tBegin Time (s)\tEnd Time (s)\tCommon Name\tConfidence\nr.wav\t3\t6\trobin\t0.12\n"
    write_files(tmp_path, {"r.BirdNET.selection.table.txt": table})
    found = read_annotations(tmp_path, recordings=recordings)
    assert len(found.events) == 3
    assert found.warnings == [
        "1 recording(s) have events of several tables, as 'r.wav' of r.BirdNET.selection.table.txt and r.txt: "
        "move away those that are not to be taken"
    ]


def test_label_tracks_of_audacity(tmp_path: Path) -> None:
    track = "0.500000\t1.250000\twren\n\\\t1000.0\t8000.0\n2,5\t2,5\tclick, loud\n3.0\t4.0\tgreat tit 0.873\n"
    write_files(tmp_path, {"a.txt": track, "b.wav.txt": "", "c.txt": "1.0\t2.0\tAlarm 12.500\n"})
    assert events_of(tmp_path) == [
        ("a", 0.5, 1.25, "wren"),
        ("a", 2.5, 2.5, "click, loud"),
        ("a", 3.0, 4.0, "great tit"),
        ("c", 1.0, 2.0, "Alarm 12.500"),
    ]
    found = read_annotations(tmp_path, recordings=["a.wav", "b.wav", "b.flac", "c.ogg"])
    assert found.fnames == ["a.wav", "b.wav", "c.ogg"]
    assert found.events["score"].tolist()[2] == 0.873


def test_label_tracks_of_birdnet_have_the_score_in_a_field_of_its_own(tmp_path: Path) -> None:
    track = "0.0\t3.0\tTurdus merula, Blackbird\t0.9876\n3.0\t6.0\tTurdus merula, Blackbird\t1.0000\n6\t9\tx 0.1234\n"
    write_files(tmp_path, {"a.BirdNET.results.txt": track})
    assert events_of(tmp_path) == [
        ("a", 0.0, 3.0, "Turdus merula, Blackbird"),
        ("a", 3.0, 6.0, "Turdus merula, Blackbird"),
        ("a", 6.0, 9.0, "x 0.1234"),
    ]
    assert read_annotations(tmp_path).events["score"].tolist()[:2] == [0.9876, 1.0]


def test_where_birdnet_detects_nothing_there_is_no_event(tmp_path: Path) -> None:
    header = f"{RAVEN_HEADER}\tCommon Name\tSpecies Code\tConfidence\tBegin Path\tFile Offset (s)\n"
    row = "1\tSpectrogram 1\t1\t0\t3\t0\t15000\tnocall\tnocall\t1.0\t/x/a.wav\t0\n"
    files = {"a.BirdNET.selection.table.txt": header + row, "b.BirdNET.results.txt": "0\t3\tnocall\t1.0\n"}
    found = read_annotations(write_files(tmp_path, files), recordings=["a.wav", "b.wav"])
    assert (found.fnames, len(found.events)) == (["a.wav", "b.wav"], 0)


def test_tables_of_dcase_kaleidoscope_and_own_columns_say_the_same(tmp_path: Path) -> None:
    files = {
        "dcase.tsv": (
            "filename\tonset\toffset\tevent_label\na.wav\t0.5\t1.25\tSpeech\nb.wav\t0\t0.5\tDog\nc.wav\t\t\t\n"
        ),
        "kaleidoscope.csv": (
            "INDIR,FOLDER,IN FILE,CHANNEL,OFFSET,DURATION,AUTO ID,MANUAL ID\n"
            "D:\\x,,a.wav,0,0.5,0.75,Cat,Speech\nD:\\x,,b.wav,0,0,0.5,Dog,\nD:\\x,,c.wav,0,,,,\n"
        ),
        "clusters.csv": (
            "FOLDER,IN FILE*,OFFSET,DURATION,TOP1MATCH*,TOP1DIST,MANUAL ID*\n"
            ",a.wav,0.5,0.75,Cat,1,Speech\n,b.wav,0,0.5,Dog,1,\n,c.wav,,,,,\n"
        ),
        "own.csv": "file;begin;end;species\na.wav;0,5;1,25;Speech\nb.wav;0;0,5;Dog\nc.wav;;;\n",
        "ours.csv": 'clip,start_s,end_s,label,score\n"a.wav",0.5,1.25,Speech,0.5\nb.wav,0,0.5,Dog,1\nc.wav,,,,\n',
    }
    write_files(tmp_path, files)
    own = {"filename": "file", "start_s": "begin", "end_s": "end", "label": "species"}
    expected = [("a.wav", 0.5, 1.25, "Speech"), ("b.wav", 0.0, 0.5, "Dog")]
    for name in files:
        found = read_annotations(tmp_path / name, own if name == "own.csv" else None)
        columns = found.events[["fname", "start_s", "end_s", "label"]]
        assert list(columns.itertuples(index=False, name=None)) == expected, name
        assert found.fnames == ["a.wav", "b.wav", "c.wav"], name


def test_folders_of_kaleidoscope_are_part_of_the_name(tmp_path: Path) -> None:
    table = "INDIR,FOLDER,IN FILE,OFFSET,DURATION,MANUAL ID\nD:\\x,site2\\day1,a.wav,1,2,Bat\n"
    write_files(tmp_path, {"meta.csv": table})
    assert events_of(tmp_path, recordings=["site1/day1/a.wav", "site2/day1/a.wav"]) == [
        ("site2/day1/a.wav", 1.0, 3.0, "Bat")
    ]


def test_one_column_may_be_named_otherwise_in_any_format(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.selections.txt": f"{RAVEN_HEADER}\tSpecies\tCall\n1\tS 1\t1\t0\t1\t0\t1\twren\tsong\n"})
    assert events_of(tmp_path, columns={"label": "Call"}) == [("a", 0.0, 1.0, "song")]


def test_a_table_of_raven_whose_columns_are_named_is_one_of_raven(tmp_path: Path) -> None:
    header = f"{RAVEN_HEADER}\tBegin Path\tFile Offset (s)\tCall\n"
    rows = [f"1\t{view}\t1\t61\t62\t0\t1\tb.wav\t1\tsong\n" for view in ("Waveform 1", "Spectrogram 1")]
    write_files(tmp_path, {"all.txt": header + "".join(rows)})
    named = {"start_s": "Begin Time (s)", "end_s": "End Time (s)", "label": "Call"}
    assert events_of(tmp_path / "all.txt", columns=named) == [("b.wav", 1.0, 2.0, "song")]


def test_a_table_that_merely_begins_as_a_recording_s_name_is_not_its_own(tmp_path: Path) -> None:
    recordings = ["a.wav", "2024.wav", "x.y.wav", "site.xyz"]
    files = {"a.txt": "0\t1\tx\n", "a.readme.txt": "words", "x.y.txt": "0\t1\tx\n", "site.txt": "0\t1\tx\n"}
    found = read_annotations(write_files(tmp_path, files), recordings=recordings)
    assert (found.fnames, [path.name for path in found.left_out]) == (
        ["a.wav", "site.xyz", "x.y.wav"],
        ["a.readme.txt"],
    )
    for name in ("a.old.txt", "2024.01.txt"):
        write_files(tmp_path / name, files | {name: "0\t1\ty\n"})
        with pytest.raises(UserError, match=rf"{name} names no recordings, and none is called '{name[:-4]}'"):
            read_annotations(tmp_path / name, recordings=recordings)


def test_texts_that_are_no_tables_are_left_out_by_name(tmp_path: Path) -> None:
    files = {"README.txt": 'see "this, and\nthat', "LICENSE.txt": "", "meta.csv": "site,lat\n1,2\n"}
    write_files(tmp_path, {**files, "a.txt": "0\t1\tx\n"})
    found = read_annotations(tmp_path, recordings=["a.wav"])
    assert [path.name for path in found.left_out] == ["LICENSE.txt", "README.txt", "meta.csv"]
    assert len(found.events) == 1


@pytest.mark.parametrize("columns", ["", "\tLabel\tBegin Path\tFile Offset (s)"])
def test_a_header_alone_says_that_the_recording_has_no_event(tmp_path: Path, columns: str) -> None:
    files = {"a.selections.txt": f"{RAVEN_HEADER}{columns}\n", "b.txt": "0\t1\tx\n", "all.csv": "fname,start_s\n"}
    found = read_annotations(write_files(tmp_path, files), recordings=["a.wav", "b.wav"])
    assert (found.fnames, found.events["fname"].tolist()) == (["a.wav", "b.wav"], ["b.wav"])


def test_a_table_of_unknown_recordings_says_which_column_is_looked_for(tmp_path: Path) -> None:
    path = write_files(tmp_path, {"all.csv": "audio,start_s,end_s,label\na.wav,0,1,x\n"}) / "all.csv"
    with pytest.raises(UserError, match=r"all\.csv names no recordings, and none is called 'all': .* data\.columns"):
        events_of(path, recordings=["a.wav"])
    assert events_of(path, columns={"filename": "audio"}, recordings=["a.wav"]) == [("a.wav", 0.0, 1.0, "x")]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("start_s,end_s,label\n2,1,x\n", ["line 2", "ends at 1 s", "before it begins at 2 s"]),
        ("start_s,end_s,label\n0,1,x\n-1,1,x\n", ["line 3", "-1 s", "before the recording"]),
        ("start_s,end_s,label\n0,later,x\n", ["line 2", "end 'later' is no number"]),
        ("start_s,end_s,label,score\n0,1,x,high\n", ["line 2", "score 'high' is no number: write it as 12.5"]),
        ("start_s,end_s,label\nnan,1,x\n", ["line 2", "begin 'nan'"]),
        ("start_s,end_s,label\n,1,x\n", ["line 2", "begin ''"]),
        ("start_s,end_s,label\n0,1,\n", ["line 2", "no label"]),
        ('start_s,end_s,label\n0,1, "x"\n', ["line 2", "in quotes"]),
        ("start_s,end_s,label\n0,1,x,y\n", ["line 2", "4 fields", "3"]),
        ("start_s,end_s\n0,1\n", ["no column label", "start_s, end_s"]),
        ("start_s,label\n0,1\n", ["no column end_s"]),
        ("fname,start_s,end_s,label\nb.wav,0,1,x\n", ["line 2", "'b.wav'", "no recording"]),
        ("fname,start_s,end_s,label\n,0,1,x\n", ["line 2", "names no recording"]),
        (f"{RAVEN_HEADER}\n1\tS\t1\t0\t1\t0\t1\n", ["no column Label or Annotation"]),
        ("0.5\t1.0\tx\n0.5\tlater\ty\n", ["line 2", "'later'"]),
        ("0.5\t1.0\n", ["line 1", "no label"]),
        ("when,what\n0,x\n", ["no columns of events", "data.columns"]),
        ("onset,offset,event_label\n0,1,x\n2,1e400,x\n", ["line 3", "'1e400'"]),
        (
            "Begin Time (s)\tEnd Time (s)\tBegin File\tEnd File\tLabel\n5\t7\ta.wav\tb.wav\tx\n",
            ["line 2", "begins in a.wav and ends in b.wav"],
        ),
    ],
)
def test_bad_tables_are_named_with_their_lines(tmp_path: Path, content: str, words: list[str]) -> None:
    write_files(tmp_path, {"a.txt": content})
    with pytest.raises(UserError) as caught:
        read_annotations(tmp_path, recordings=["a.wav"])
    message = str(caught.value)
    assert all(word in message for word in [f"{tmp_path}/a.txt", *words]), message
    assert "\n" not in message


def test_what_is_no_table_or_no_key_is_said(tmp_path: Path) -> None:
    for path, columns, words in (
        (tmp_path / "none.csv", None, "is not there"),
        (tmp_path, None, "holds no table of events"),
        (tmp_path, {"labels": "x"}, r"data.columns names 'labels': its keys are filename, start_s"),
    ):
        with pytest.raises(UserError, match=words):
            read_annotations(path, columns)


def test_names_that_may_be_two_recordings_are_refused(tmp_path: Path) -> None:
    table = "fname,start_s,end_s,label\n{},0,1,x\n"
    recordings = ["s1/a.wav", "s2/a.wav", "s2/b.wav", "b.flac"]
    for name, expected in (("x/y/s1/a.wav", "s1/a.wav"), ("s2\\a", "s2/a.wav"), ("b", "b.flac"), ("b.wav", "s2/b.wav")):
        write_files(tmp_path, {"all.csv": table.format(name)})
        assert events_of(tmp_path / "all.csv", recordings=recordings) == [(expected, 0.0, 1.0, "x")]
    write_files(tmp_path, {"all.csv": table.format("a.wav")})
    with pytest.raises(UserError, match=r"line 2: 'a.wav' may be s1/a.wav or s2/a.wav: name it with its folder"):
        events_of(tmp_path / "all.csv", recordings=recordings)


LABELS = st.text(st.characters(codec="utf-8", exclude_characters=';"\\', exclude_categories=["C", "Z"]), min_size=1)


@given(rows=st.lists(st.tuples(st.floats(0, 1e5), st.floats(0, 100), LABELS), min_size=1, max_size=5))
def test_any_label_and_time_comes_back_from_a_label_track(
    rows: list[tuple[float, float, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("track") / "a.txt"
    path.write_text("".join(f"{start!r}\t{start + length!r}\t{label}\n" for start, length, label in rows), "utf-8")
    events = read_annotations(path).events
    assert events["start_s"].tolist() == [start for start, _, _ in rows]
    assert events["end_s"].tolist() == [start + length for start, length, _ in rows]
    assert events["label"].tolist() == [unicodedata.normalize("NFC", label) for _, _, label in rows]
