"""Truth tables in all their forms, and the clips and labels that do not match a submission."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from predict.output.ground_truth import find_truth, match_names, read_event_truth, read_truth, truth_of_clips
from train.data.corrected_clips import CorrectedClips
from train.evaluate.score_table import ScoreTable

LABELS = ["rain", "Dog, big", "cat"]
SCORES = ScoreTable(["1", "2", "3"], LABELS, np.arange(9, dtype=np.float32).reshape(3, 3) / 10)
EXPECTED = [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


@pytest.mark.parametrize(
    "text",
    [
        'fname,labels\n1,"rain,cat"\n2,"Dog, big"\n3,\n',
        'clip,labels\n1,rain;cat\n2,"Dog, big"\n3,\n',
        'labels,usage,clip\n" rain; cat",Public,1\n"Dog, big",Private,2\n,Public,3\n',
        'fname,cat,rain,"Dog, big"\n1,1,1,0\n2,0,0.0,1.0\n3,0,0,0\n',
        '\ufeffid,rain,"Dog, big",cat\n1,1,0,1\n2,0,1,0\n3,0,0,0\n',
        '\ufeffclip;labels\r\n1;"rain;cat"\r\n2;Dog, big\r\n3;\r\n',
        "fname\tlabels\n1\train|cat\n2\tDog, big\n3\t\n",
        """clip,labels\n1,"['rain', 'cat']"\n2,"['Dog, big']"\n3,[]\n""",
    ],
)
def test_every_form_of_a_truth_table(tmp_path: Path, text: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    truth = read_truth(path, LABELS)
    assert (truth.index.tolist(), truth.columns.tolist()) == (["1", "2", "3"], LABELS)
    assert truth.to_numpy().tolist() == EXPECTED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("fname,labels\n1,rain\n2,cow\n", ["'2'", "cow"]),
        ("fname,labels\n1,rain\n1,cat\n", ["'1'", "twice"]),
        ("fname,rain,cat\n1,0,1\n", ["Dog, big", "missing"]),
        ('fname,rain,"Dog, big",cat,cow\n1,0,0,1,0\n', ["cow"]),
        ('fname,rain,"Dog, big",cat\n1,0,0,0.5\n', ["'1'", "cat", "0.5"]),
        ("", ["empty"]),
    ],
)
def test_a_truth_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: list[str]) -> None:
    path = tmp_path / "truth.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(UserError) as caught:
        read_truth(path, LABELS)
    assert all(word in str(caught.value) for word in ["truth.csv", *words]), str(caught.value)


@pytest.mark.parametrize(
    ("names", "clips"),
    [
        (["a.wav ", "é.wav"], ["a.wav", "e\u0301.wav"]),
        (["x\\a.wav", "x\\b.wav"], ["x/a.wav", "x/b.wav"]),
        (["a.wav", "b.wav"], ["x/a.wav", "y/b.wav"]),
        (["/home/me/x/a.wav", "/home/me/x/b.wav"], ["x/a.wav", "x/b.wav"]),
        (["x/a", "y/a"], ["x/a.wav", "y/a.wav"]),
        (["01 - a. b", "c"], ["01 - a. b.wav", "c.flac"]),
        (["a.mp3", "b.mp3"], ["x/a.wav", "x/b.wav"]),
    ],
)
def test_names_match_in_the_forms_of_other_programs(names: list[str], clips: list[str]) -> None:
    assert match_names(names, clips) == clips
    assert match_names(names[::-1], clips) == clips[::-1]


def test_names_that_may_mean_two_clips_mean_none() -> None:
    assert match_names(["a.wav", "b"], ["x/a.wav", "y/a.wav", "b.wav", "b.flac"]) == ["a.wav", "b"]
    assert match_names(["a.wav", "a"], ["a.wav", "a.flac"]) == ["a.wav", "a"]
    assert match_names(["x/a.wav", "z/a.wav"], ["a.wav"]) == ["x/a.wav", "z/a.wav"]


@pytest.mark.parametrize(
    ("names", "clips"),
    [
        (["siteB/1.wav", "siteB/2.flac"], ["siteA/1.wav", "siteA/2.wav"]),
        (["A_20240501.0600", "A_20240501.0800"], ["A_20240501.0600", "A_20240501.0700"]),
    ],
)
def test_names_of_other_recordings_mean_none(names: list[str], clips: list[str]) -> None:
    assert match_names(names, clips) == names


@pytest.mark.parametrize(("clips", "named"), [("123x", "'x'"), ("12", "'3'")])
def test_rows_that_do_not_match_are_named(tmp_path: Path, clips: str, named: str) -> None:
    path = tmp_path / "truth.csv"
    path.write_text("clip,labels\n" + "".join(f"{clip},rain\n" for clip in clips))
    with pytest.raises(UserError, match=named):
        find_truth(path, tmp_path / "submission.csv", SCORES)


def test_recordings_that_could_not_be_read_may_be_in_a_truth_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "failed.csv").write_text("clip,reason\nx/9.wav,the file is empty\n")
    path = tmp_path / "truth.csv"
    path.write_text("clip,labels\n9,rain\n3,\n1,rain;cat\n2,'Dog, big'\n".replace("'", '"'))
    np.testing.assert_array_equal(find_truth(path, tmp_path / "submission.csv", SCORES), EXPECTED)
    warning = f"warning: 1 recordings of {path} could not be read and are left out, the first 'x/9.wav'\n"
    assert capsys.readouterr().err == warning
    path.write_text("fname,start_s,end_s,label\n1,0,1,rain\n9,0,1,rain\n")
    events = read_event_truth(path, tmp_path / "submission.csv", SCORES)
    assert events is not None and events["fname"].tolist() == ["1"]
    assert capsys.readouterr().err == warning


def test_what_is_doubtful_in_a_table_of_events_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "all.txt"
    header = "Selection\tBegin Time (s)\tEnd Time (s)\tBegin File\tSpecies"
    path.write_text(f"{header}\n1\t2\t3\t1\train\n2\t61\t62\t2\tcat\n")
    assert read_event_truth(path, tmp_path / "submission.csv", SCORES) is not None
    assert "Begin Time (s) is read as of its own recording" in capsys.readouterr().err


def test_a_folder_without_tables_is_refused_by_the_name_of_the_option(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no table of events .*: TRUTH= names"):
        read_event_truth(tmp_path, tmp_path / "submission.csv", SCORES)


def clips_with(labels: list[str], label_quality: str = "curated") -> CorrectedClips:
    names = ["1", "2", "3", "4", "5"]
    rows = zip(names, labels, [0, 0, 1, 1, -1], strict=True)
    table = pd.DataFrame(
        [
            (clip, f"/{clip}.wav", label, fold, "test" if fold < 0 else "train", clip, "curated")
            for clip, label, fold in rows
        ],
        columns=["clip", "path", "labels", "fold", "split", "group", "label_quality"],
    )
    table.loc[table["clip"] == "2", "label_quality"] = label_quality
    return CorrectedClips(table, LABELS)


def test_the_table_of_clips_is_the_truth_of_curated_clips() -> None:
    clips = clips_with(["rain;cat", "cat", "cat", "rain", ""], label_quality="noisy")
    np.testing.assert_array_equal(truth_of_clips(clips, SCORES), [[1, 0, 1], [np.nan] * 3, [0, 0, 1]])


def test_unlabelled_clips_have_no_truth() -> None:
    clips = clips_with(["rain", "cat", "cat", "rain", ""])
    assert np.isnan(truth_of_clips(clips, ScoreTable(["5"], LABELS, np.zeros((1, 3), np.float32)))).all()


def test_another_dataset_s_submission_is_refused() -> None:
    with pytest.raises(UserError, match="'9'"):
        truth_of_clips(
            clips_with(["rain", "cat", "cat", "rain", ""]),
            ScoreTable(["9"], LABELS, np.zeros((1, 3), np.float32)),
        )
