"""Every layout on a small set of its own, and the real sets where they are at hand."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pandas as pd
import pytest

from errors import BadInput
from preprocess.layouts import READERS, Layout, read_layout
from recipe import Data


def fill(folder: Path, files: dict[str, str]) -> Path:
    """Write text files below `folder`; a recording's content does not matter to a layout."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    return folder


def read(layout: Any, folder: Path, **keys: Any) -> Layout:
    return read_layout(Data(layout=layout, folder=str(folder), **{"folds": 2, **keys}))


def columns(table: pd.DataFrame, *names: str) -> list[tuple[Any, ...]]:
    return list(table[list(names)].itertuples(index=False, name=None))


def refused(layout: str, folder: Path, *words: str, **keys: Any) -> None:
    """The layout is refused in one line that holds `words`."""
    with pytest.raises(BadInput) as caught:
        read(layout, folder, **keys)
    message = str(caught.value)
    assert "\n" not in message
    assert all(word in message for word in words), message


def test_the_recipe_names_every_reader() -> None:
    assert set(get_args(get_type_hints(Data)["layout"])) == set(READERS)


# folders


def test_folders_are_labels_in_any_script(tmp_path: Path) -> None:
    names = ["dog, big", "été", "犬", "собака"]
    files = {f"{name}/{number}.wav": "" for name in names for number in "12"}
    layout = read("folders", fill(tmp_path, files | {"犬/only.ogg": "", "readme.txt": "", ".cache/x.wav": ""}))
    assert layout.vocabulary == sorted(names)
    assert ("only.ogg", "犬") in columns(layout.table, "clip", "labels")
    assert ("dog, big/1.wav", "dog, big") in columns(layout.table, "clip", "labels")
    assert set(columns(layout.table, "split", "trust")) == {("train", "curated")}
    assert list(layout.table["path"]) == [str(path) for path in sorted(tmp_path.glob("[!.]*/*"))]
    assert (layout.table["group"] == layout.table["clip"]).all()
    assert layout.sample is None
    assert layout.notes == []


def test_folders_note_what_they_leave_out(tmp_path: Path) -> None:
    layout = read("folders", fill(tmp_path, {"a/1.wav": "", "b/2.wav": "", "c/notes.txt": "", "loose.wav": ""}))
    assert layout.vocabulary == ["a", "b"]
    assert [note.split()[0:2] for note in layout.notes] == [["folder", "'c'"], ["1", "recording(s)"]]


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    layout = read("folders", fill(tmp_path, {"a/x/1.wav": "", "a/y/1.wav": "", "b/2.wav": ""}))
    assert columns(layout.table, "clip", "labels") == [("a/x/1.wav", "a"), ("a/y/1.wav", "a"), ("2.wav", "b")]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"readme.txt": ""}, ["no folders", "one a class"]),
        ({"a/readme.txt": ""}, ["empty", "data.layout"]),
        ({"a;b/1.wav": ""}, ["'a;b'", "rename it"]),
        ({"a/1.wav": "", "a/2.wav": ""}, ["'a'", "nothing to tell apart", "data.layout"]),
        ({"audio/1.wav": "", "meta/esc50.csv": ""}, ["meta/esc50.csv", "data.layout to esc50"]),
        ({"test/1.wav": "", "train_curated.csv": ""}, ["train_curated.csv", "data.layout to fsdkaggle2019"]),
        ({"IRMAS-TrainingData/cel/1.wav": ""}, ["IRMAS-TrainingData", "data.layout to irmas"]),
        ({"a/1.wav": "", "b/1.wav": ""}, ["data.folds = 3", "2 group", "2 or less"]),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, files: dict[str, str], words: list[str]) -> None:
    refused("folders", fill(tmp_path, files), *words, folds=3)


def test_a_label_outside_the_wanted_ones_is_named(tmp_path: Path) -> None:
    refused("folders", fill(tmp_path, {"a/1.wav": "", "b/2.wav": ""}), "2.wav", "'b'", "data.labels", labels=["a"])


def test_folder_unset_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"data\.folder is not set"):
        read_layout(Data())
    refused("folders", tmp_path / "nowhere", "nowhere is not there", "data.folder")
    refused("folders", fill(tmp_path, {"file": ""}) / "file", "not a folder")


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read any folder
    refused("folders", tmp_path, str(tmp_path), "Permission denied")


# csv


def test_csv_with_every_column(tmp_path: Path) -> None:
    table = (
        "fname,note,labels,fold,group,split,trust\n"
        '"a, b.wav",x,"rain, heavy; 犬 ;rain, heavy",1,g,train,\n'
        "sub/c.dat,x,犬,1,g,,noisy\n"
        "d.wav,x,rain; 犬,0,,train,curated\n"
        "e.wav,x,犬,,,test,\n"
    )
    layout = read("csv", fill(tmp_path, {"labels.csv": table, "d.wav": ""}), labels=["rain", "rain, heavy", "犬"])
    assert columns(layout.table, "clip", "labels", "fold", "split", "group", "trust") == [
        ("a, b.wav", "rain, heavy;犬", 1, "train", "g", "curated"),
        ("sub/c.dat", "犬", 1, "train", "g", "noisy"),
        ("d.wav", "rain;犬", 0, "train", "d.wav", "curated"),
        ("e.wav", "犬", -1, "test", "e.wav", "curated"),
    ]
    assert layout.table["path"].iloc[1] == str(tmp_path / "sub" / "c.dat")
    assert layout.vocabulary == ["rain", "rain, heavy", "犬"]


def test_csv_rows_without_labels_are_to_be_predicted(tmp_path: Path) -> None:
    fill(tmp_path, {"labels.csv": "fname,labels\na,x\nb,y\nc,\n", "c": ""})
    assert list(read("csv", tmp_path).table["split"]) == ["train", "train", "test"]


def test_csv_beside_the_recordings(tmp_path: Path) -> None:
    fill(tmp_path, {"mine.csv": "fname,labels\na.wav,x\nb.wav,y\n", "sound/a.wav": ""})
    layout = read("csv", tmp_path / "sound", table=str(tmp_path / "mine.csv"))
    assert list(layout.table["path"]) == [str(tmp_path / "sound" / name) for name in ("a.wav", "b.wav")]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("fname,label\na,x\n", ["labels.csv", "no column labels"]),
        ("fname,labels\n", ["empty"]),
        ("fname,labels\na,x\nb,x\na,y\n", ["two clips", "'a'"]),
        ("fname,labels,fold\na,x,0\nb,y,\n", ["b", "fold ''"]),
        ("fname,labels,fold\na,x,0\nb,y,-1\n", ["b", "'-1'", "whole number"]),
        ("fname,labels,fold,group\na,x,0,g\nb,y,1,g\n", ["'g'", "0 and 1"]),
        ("fname,labels,fold\na,x,2\nb,y,2\n", ["fold 2"]),
        ("fname,labels,split\na,x,train\nb,,train\n", ["b", "no label"]),
        ("fname,labels,split\na,x,learn\nb,x,\n", ["a", "'learn'"]),
        ("fname,labels,trust\na,x,high\nb,x,\n", ["a", "'high'"]),
        ("fname,labels,trust\na,x,noisy\nb,y,noisy\n", ["no curated clip"]),
        ("fname,labels\na,\n", ["no clip is for training"]),
    ],
)
def test_bad_csvs_are_refused(tmp_path: Path, table: str, words: list[str]) -> None:
    refused("csv", fill(tmp_path, {"labels.csv": table, "a": ""}), *words)


def test_a_missing_table_is_named_with_the_key_that_changes_it(tmp_path: Path) -> None:
    refused("csv", tmp_path, "labels.csv is not there", "data.table")


def test_a_recording_that_is_missing_stays_but_not_if_all_are(tmp_path: Path) -> None:
    table = {"labels.csv": "fname,labels\na,x\nb,y\n"}
    refused("csv", fill(tmp_path, table), "none of 2 recordings", str(tmp_path / "a"), "data.folder")
    assert list(read("csv", fill(tmp_path, {"b": ""})).table["clip"]) == ["a", "b"]


# esc50

ESC50 = "filename,fold,target,category,esc10,src_file,take\n"


def test_esc50_keeps_official_folds_and_sources(tmp_path: Path) -> None:
    table = ESC50 + "1-7-A-0.wav,1,0,dog,True,7,A\n1-7-B-0.wav,1,0,dog,True,7,B\n2-8-A-1.wav,2,1,rain,True,8,A\n"
    layout = read("esc50", fill(tmp_path, {"meta/esc50.csv": table, "audio/1-7-A-0.wav": ""}))
    assert columns(layout.table, "clip", "labels", "fold", "group") == [
        ("1-7-A-0.wav", "dog", 1, "7"),
        ("1-7-B-0.wav", "dog", 1, "7"),
        ("2-8-A-1.wav", "rain", 2, "8"),
    ]
    assert layout.table["path"].iloc[2] == str(tmp_path / "audio" / "2-8-A-1.wav")


def test_esc50_elsewhere_names_the_file_it_expects(tmp_path: Path) -> None:
    refused("esc50", tmp_path, str(tmp_path / "meta" / "esc50.csv"), "data.folder")


# fsdkaggle2019


def freesound() -> dict[str, str]:
    """A set with both pools and two test clips in an order of their own."""
    return {
        "train_curated.csv": 'fname,labels\na.wav,"Zip,Bark_(dog)"\nb.wav,Zip\n',
        "train_noisy.csv": "fname,labels\nc.wav,Bark_(dog)\nd.wav,Zip\n",
        "sample_submission.csv": "fname,Zip,Bark_(dog)\nz.wav,0,0\ny.wav,0,0\n",
        "train_curated/a.wav": "",
        "train_noisy/c.wav": "",
        "test/y.wav": "",
    }


def test_fsdkaggle2019_follows_its_sample_submission(tmp_path: Path) -> None:
    layout = read("fsdkaggle2019", fill(tmp_path, freesound()))
    assert columns(layout.table, "clip", "labels", "split", "trust") == [
        ("a.wav", "Zip;Bark_(dog)", "train", "curated"),
        ("b.wav", "Zip", "train", "curated"),
        ("c.wav", "Bark_(dog)", "train", "noisy"),
        ("d.wav", "Zip", "train", "noisy"),
        ("z.wav", "", "test", "curated"),
        ("y.wav", "", "test", "curated"),
    ]
    assert layout.table["path"].iloc[3] == str(tmp_path / "train_noisy" / "d.wav")
    assert layout.vocabulary == ["Zip", "Bark_(dog)"]
    assert layout.sample is not None
    assert list(layout.sample.columns) == ["fname", "Zip", "Bark_(dog)"]
    assert layout.notes == []


@pytest.mark.parametrize(
    ("absent", "note", "n_clips"), [("train_noisy", "no train_noisy/", 4), ("train_noisy.csv", "train_noisy.csv", 4)]
)
def test_fsdkaggle2019_without_noisy_clips(tmp_path: Path, absent: str, note: str, n_clips: int) -> None:
    files = {name: text for name, text in freesound().items() if name.split("/")[0] != absent}
    layout = read("fsdkaggle2019", fill(tmp_path, files))
    assert len(layout.table) == n_clips
    assert note in layout.notes[0]


def test_fsdkaggle2019_without_test_clips_keeps_its_vocabulary(tmp_path: Path) -> None:
    layout = read("fsdkaggle2019", fill(tmp_path, {k: v for k, v in freesound().items() if k != "test/y.wav"}))
    assert layout.sample is None
    assert layout.vocabulary == ["Zip", "Bark_(dog)"]
    assert "no test/" in layout.notes[0]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("train_curated.csv", "fname,labels\na.wav,Moo\n", ["a.wav", "'Moo'"]),
        ("train_curated.csv", "fname,labels\na.wav,Zip;Moo\n", ["'Zip;Moo'", "';'"]),
        ("train_noisy.csv", "fname,labels\na.wav,Zip\nd.wav,Zip\n", ["two clips", "'a.wav'"]),
        ("sample_submission.csv", "fname\nz.wav\n", ["sample_submission.csv", "a column a label"]),
        ("sample_submission.csv", "id,Zip\nz.wav,0\n", ["sample_submission.csv", "no column fname"]),
    ],
)
def test_bad_fsdkaggle2019_sets_are_refused(tmp_path: Path, name: str, text: str, words: list[str]) -> None:
    refused("fsdkaggle2019", fill(tmp_path, freesound() | {name: text}), *words)


@pytest.mark.parametrize("name", ["train_curated.csv", "sample_submission.csv"])
def test_fsdkaggle2019_elsewhere_names_the_file_it_expects(tmp_path: Path, name: str) -> None:
    refused("fsdkaggle2019", fill(tmp_path, {k: v for k, v in freesound().items() if k != name}), name, "data.folder")


# irmas


def instruments() -> dict[str, str]:
    """Names as in the official set: other tags before the track number, spaces and dashes in test pieces."""
    return {
        "IRMAS-TrainingData/README.txt": "",
        "IRMAS-TrainingData/cel/[cel][cla]0001__1.wav": "",
        "IRMAS-TrainingData/cel/[cel][cla]0001__2.wav": "",
        "IRMAS-TrainingData/cel/008__[cel][nod][cla]0002__3.wav": "",
        "IRMAS-TrainingData/pia/[pia][dru][jaz_blu]0001__1.wav": "",
        "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.wav": "",
        "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.txt": "cel\t\npia\t\n",
        "IRMAS-TestingData-Part2/IRTestingData-Part2/(02) kill the whale-10.wav": "",
        "IRMAS-TestingData-Part2/IRTestingData-Part2/(02) kill the whale-10.txt": "\ufeffpia\t\r\n\r\n",
        "IRMAS-TestingData-Part3/Part3/nothing known-2.wav": "",
    }


def test_irmas_groups_tracks_and_reads_labels_of_test_clips(tmp_path: Path) -> None:
    layout = read("irmas", fill(tmp_path, instruments()))
    assert layout.vocabulary == ["cel", "pia"]
    assert columns(layout.table, "clip", "labels", "split", "group") == [
        ("008__[cel][nod][cla]0002__3.wav", "cel", "train", "cel0002"),
        ("[cel][cla]0001__1.wav", "cel", "train", "cel0001"),
        ("[cel][cla]0001__2.wav", "cel", "train", "cel0001"),
        ("[pia][dru][jaz_blu]0001__1.wav", "pia", "train", "pia0001"),
        ("01 - Alasdair - Scottish-1.wav", "cel;pia", "test", "01 - Alasdair - Scottish"),
        ("(02) kill the whale-10.wav", "pia", "test", "(02) kill the whale"),
        ("nothing known-2.wav", "", "test", "nothing known"),
    ]


def test_irmas_names_clips_apart_that_parts_share(tmp_path: Path) -> None:
    twice = {f"IRMAS-TestingData-Part{part}/Part{part}/Track 01-1.wav": "" for part in "12"}
    clips = list(read("irmas", fill(tmp_path, instruments() | twice)).table["clip"])
    assert set(twice) <= set(clips)


def test_irmas_without_test_clips_says_so(tmp_path: Path) -> None:
    layout = read("irmas", fill(tmp_path, {k: v for k, v in instruments().items() if "Training" in k}))
    assert set(layout.table["split"]) == {"train"}
    assert "TestingData" in layout.notes[0]


@pytest.mark.parametrize("text", ["cel\npno\t\n", "cel, pia"])
def test_irmas_test_labels_of_no_training_folder_are_refused(tmp_path: Path, text: str) -> None:
    name = "IRMAS-TestingData-Part1/Part1/01 - Alasdair - Scottish-1.txt"
    refused("irmas", fill(tmp_path, instruments() | {name: text}), "01 - Alasdair - Scottish-1.wav", "vocabulary")


def test_irmas_labels_that_are_no_text_are_named(tmp_path: Path) -> None:
    fill(tmp_path, instruments())
    (tmp_path / "IRMAS-TestingData-Part3/Part3/nothing known-2.txt").write_bytes(b"\xff\xfe\0")
    refused("irmas", tmp_path, "nothing known-2.txt", "as text")


def test_irmas_elsewhere_names_the_folder_it_expects(tmp_path: Path) -> None:
    refused("irmas", tmp_path, str(tmp_path / "IRMAS-TrainingData"), "data.folder")


# real sets


def test_esc10(real_sound: Callable[[str], Path]) -> None:
    layout = read("esc50", real_sound("esc10"))
    assert (len(layout.table), len(layout.vocabulary)) == (400, 10)
    assert layout.table.groupby("fold").size().to_dict() == dict.fromkeys(range(1, 6), 80)


def test_fsdkaggle2019_mini(real_sound: Callable[[str], Path]) -> None:
    layout = read("fsdkaggle2019", real_sound("fsdkaggle2019_mini"), folds=5)
    sizes = layout.table.groupby(["split", "trust"]).size().to_dict()
    assert sizes == {("test", "curated"): 200, ("train", "curated"): 240, ("train", "noisy"): 320}
    by_fold = layout.table[layout.table["split"] == "train"].groupby(["trust", "fold"]).size()
    assert by_fold.groupby("trust").agg(lambda sizes: sizes.max() - sizes.min()).max() <= 2
    assert layout.sample is not None
    assert list(layout.sample["fname"]) == list(layout.table.loc[layout.table["split"] == "test", "clip"])


def test_polyphony(real_sound: Callable[[str], Path]) -> None:
    layout = read("irmas", real_sound("polyphony"), folds=5)
    assert layout.table.groupby("split").size().to_dict() == {"test": 120, "train": 440}
    test = layout.table[layout.table["split"] == "test"]
    assert test["labels"].str.count(";").between(0, 4).all()
    assert (test["labels"] != "").all()
    assert test["group"].nunique() < len(test)
