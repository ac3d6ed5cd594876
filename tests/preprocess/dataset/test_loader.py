"""What all layouts share, and the real sets where they are at hand."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import pandas as pd
import pytest

from core.errors import UserError
from preprocess.dataset.label_names import name_labels
from preprocess.dataset.loader import READERS, read_dataset
from recipe import Data
from tests.preprocess.dataset_factories import assert_refused, read, write_files


def test_the_recipe_names_every_reader() -> None:
    assert set(get_args(get_type_hints(Data)["layout"])) == set(READERS)


def test_folder_unset_missing_or_a_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.folder is not set"):
        read_dataset(Data())
    assert_refused("folders", tmp_path / "nowhere", "nowhere is not there", "data.folder")
    assert_refused("folders", write_files(tmp_path, {"file": ""}) / "file", "not a folder")
    with pytest.raises(UserError, match=r"data\.folder ~no-such-user/x: .*; write the whole path"):
        read_dataset(Data(folder="~no-such-user/x"))
    with pytest.raises(UserError, match=r"data\.table ~no-such-user/t\.csv: .*; write the whole path"):
        read_dataset(Data("csv", str(tmp_path), "~no-such-user/t.csv"))


@pytest.mark.parametrize(
    ("layout", "table", "columns"),
    [
        ("csv", "labels.csv", ["fname", "labels"]),
        ("audiofolder", "metadata.csv", ["file_name", "label"]),
        ("annotations", "events.csv", ["fname", "label", "start_s", "end_s"]),
    ],
)
def test_words_for_missing_values_are_labels(layout: str, table: str, columns: list[str], tmp_path: Path) -> None:
    labels = ["NA", "NaN", "None", "nan"]
    clips = write_files(tmp_path, {f"{label}.wav": "" for label in labels} | {"unknown.wav": ""})
    rows = [(f"{label}.wav", label, 0, 1) for label in labels] + [("unknown.wav", None, None, None)]
    pd.DataFrame([row[: len(columns)] for row in rows], columns=columns).to_csv(clips / table, index=False)
    dataset = read(layout, clips)
    assert dataset.vocabulary == labels
    assert dict(zip(dataset.table["clip"], dataset.table["labels"], strict=True)) == {
        **{f"{label}.wav": label for label in labels},
        "unknown.wav": ";" if layout == "annotations" else "",
    }


@pytest.mark.parametrize("layout", ["csv", "annotations"])
def test_a_path_with_a_zero_byte_names_its_key(layout: Literal["csv", "annotations"], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"data\.table 'a\\x00\.csv' has a zero byte"):
        read_dataset(Data(layout, str(tmp_path), "a\0.csv"))


def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise PermissionError(13, "Permission denied", str(folder))

    monkeypatch.setattr(Path, "iterdir", refuse)  # root may read any folder
    assert_refused("folders", tmp_path, str(tmp_path), "Permission denied")


ESC50 = "filename,fold,target,category,src_file,take\n1-7-A-0.wav,1,0,dog,7,A\n2-8-A-1.wav,2,1,rain,8,A\n"
FSDKAGGLE2019 = {
    "train_curated.csv": "fname,labels\na.wav,x\nb.wav,y\n",
    "sample_submission.csv": "fname,x,y\nz.wav,0,0\n",
}


@pytest.mark.parametrize(
    ("layout", "tables", "named", "unnamed"),
    [
        ("csv", {"labels.csv": "fname,labels\na.wav,x\nb.wav,y\n"}, "a.wav", "b/c.FLAC"),
        ("audiofolder", {"train/metadata.csv": "file_name,label\na.wav,x\nb.wav,y\n"}, "train/a.wav", "test/a.wav"),
        ("esc50", {"meta/esc50.csv": ESC50}, "audio/1-7-A-0.wav", "audio/1-7-B-0.wav"),
        ("fsdkaggle2019", FSDKAGGLE2019, "train_curated/a.wav", "train_curated/c.wav"),
    ],
)
def test_recordings_that_no_table_names_are_told(
    tmp_path: Path, layout: str, tables: dict[str, str], named: str, unnamed: str
) -> None:
    write_files(tmp_path, tables | {named: "", "notes.txt": "", ".hidden/e.wav": ""})
    assert read(layout, tmp_path, folds=2).warnings == []
    write_files(tmp_path, {unnamed: "", "z/z.mp3": ""})
    assert read(layout, tmp_path, folds=2).warnings == [
        f"2 recordings below {tmp_path} are in no table and are left out, the first {unnamed!r}"
    ]


def test_a_mac_finds_names_in_any_form_of_unicode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, {"Cafe\u0301.wav": "", "b.wav": "", "labels.csv": "fname,labels\nCaf\u00e9.wav,x\nb.wav,y\n"})
    monkeypatch.setattr(os.path, "lexists", lambda path: True)
    assert read("csv", tmp_path, folds=2).warnings == []


def test_recordings_named_by_way_of_a_link_are_in_the_table(tmp_path: Path) -> None:
    write_files(tmp_path, {"set/a.wav": "", "set/b.wav": ""})
    (tmp_path / "link").symlink_to("set")
    write_files(tmp_path / "set", {"labels.csv": f"fname,labels\n{tmp_path}/set/a.wav,x\n../link/b.wav,y\n"})
    assert read("csv", tmp_path / "link").warnings == []


def test_esc10(real_sound: Callable[[str], Path]) -> None:
    dataset = read("esc50", real_sound("esc10"))
    assert (len(dataset.table), len(dataset.vocabulary)) == (400, 10)
    assert dataset.table.groupby("fold").size().to_dict() == dict.fromkeys(range(1, 6), 80)


def test_fsdkaggle2019_mini(real_sound: Callable[[str], Path]) -> None:
    dataset = read("fsdkaggle2019", real_sound("fsdkaggle2019_mini"), folds=5)
    sizes = dataset.table.groupby(["split", "label_quality"]).size().to_dict()
    assert sizes == {("test", "curated"): 200, ("train", "curated"): 240, ("train", "noisy"): 320}
    by_fold = dataset.table[dataset.table["split"] == "train"].groupby(["label_quality", "fold"]).size()
    assert by_fold.groupby("label_quality").agg(lambda sizes: sizes.max() - sizes.min()).max() <= 2
    assert dataset.sample is not None
    assert list(dataset.sample["fname"]) == list(dataset.table.loc[dataset.table["split"] == "test", "clip"])


def test_polyphony(real_sound: Callable[[str], Path]) -> None:
    dataset = read("irmas", real_sound("polyphony"), folds=5)
    assert dataset.table.groupby("split").size().to_dict() == {"test": 120, "train": 440}
    test = dataset.table[dataset.table["split"] == "test"]
    assert test["labels"].str.count(";").between(0, 4).all()
    assert (test["labels"] != "").all()
    assert test["group"].nunique() < len(test)


def test_a_test_share_is_whole_groups_of_every_label(tmp_path: Path) -> None:
    rows = [f"{number},{'xyz'[number % 3]},g{number // 2}" for number in range(120)]
    write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels,group", *rows]), "0": ""})
    dataset = read("csv", tmp_path, test_share=0.25)
    test = dataset.table[dataset.table["split"] == "test"]
    assert 24 <= len(test) <= 36
    assert test["labels"].value_counts().between(7, 13).all() and test["labels"].nunique() == 3
    assert set(test["group"]).isdisjoint(dataset.table.loc[dataset.table["split"] == "train", "group"])
    assert (test["fold"] == -1).all()
    assert dataset.notes == [f"{len(test)} of 120 clips are test clips (data.test_share)"]
    again = read("csv", tmp_path, test_share=0.25, folds=5).table
    assert again.loc[again["split"] == "test", "clip"].tolist() == test["clip"].tolist(), "whatever the folds"
    for share in (0.02, 0.99):
        words = f"data.test_share = {share}: the 60 groups of curated clips are cut into 20 parts at", "0.05 to 0.95"
        assert_refused("csv", tmp_path, *words, test_share=share)
    assert (read("csv", tmp_path, test_share=0.05).table["split"] == "test").sum() == 6


@pytest.mark.parametrize(("n_clips", "share", "n_test"), [(24, 0.25, 6), (30, 0.2, 6), (4, 0.2, 1), (39, 1 / 3, 13)])
def test_a_test_share_of_few_clips_is_that_share(tmp_path: Path, n_clips: int, share: float, n_test: int) -> None:
    rows = [f"{number},{'xy'[number % 2]}" for number in range(n_clips)]
    write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels", *rows]), "0": ""})
    assert (read("csv", tmp_path, test_share=share).table["split"] == "test").sum() == n_test


def test_a_test_share_that_leaves_validation_clips_alone_is_refused(tmp_path: Path) -> None:
    rows = [f"{number},{'xy'[number % 2]},{'val' if number < 10 else 'train'}" for number in range(12)]
    write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels,split", *rows]), "0": ""})
    assert_refused(
        "csv", tmp_path, "data.test_share = 0.5 leaves none but validation clips", "lower it", test_share=0.5
    )


def test_a_test_share_is_for_datasets_without_test_clips(tmp_path: Path) -> None:
    write_files(tmp_path, {"labels.csv": "fname,labels\na,x\nb,y\nc,\n", "a": ""})
    assert_refused("csv", tmp_path, "data.test_share", "test clips of its own", test_share=0.5)


def test_recordings_of_another_folder_are_unlabelled_and_in_every_fold(tmp_path: Path) -> None:
    dataset_dir = write_files(tmp_path / "set", {f"{label}/{n}.wav": "" for label in ("dog", "rain") for n in range(4)})
    more = write_files(tmp_path / "more", {**{f"site/{n}.wav": "" for n in range(6)}, "dog/0.wav": "", "notes.txt": ""})
    (more / "again.wav").symlink_to(dataset_dir / "rain" / "0.wav")
    table = read("folders", dataset_dir, unlabelled=str(more), folds=2).table.set_index("clip")
    added = table[table["label_quality"] == "unlabelled"]
    assert set(added.index) == {"more/dog/0.wav", *(f"site/{n}.wav" for n in range(6))}
    assert (set(added["labels"]), set(added["split"]), set(added["fold"])) == ({""}, {"train"}, {0, 1})
    assert set(table["label_quality"].drop(added.index)) == {"curated"}
    with pytest.raises(UserError, match=r"nowhere is not there: set data\.unlabelled"):
        read("folders", dataset_dir, unlabelled=str(tmp_path / "nowhere"))
    for inside in ("rain", "empty"):
        (dataset_dir / inside).mkdir(exist_ok=True)
        words = f"{dataset_dir / inside} holds no recording that the dataset does not have already", "move it out"
        assert_refused("folders", dataset_dir, *words, unlabelled=str(dataset_dir / inside))


@pytest.mark.parametrize("has_val", [False, True])
def test_recordings_without_labels_leave_the_folds_of_the_others_as_they_are(tmp_path: Path, has_val: bool) -> None:
    rows = [f"{n},{'xyz'[n % 3]},g{n // 2},{'val' if has_val and n < 6 else ''}" for n in range(30)]
    write_files(tmp_path / "set", {"labels.csv": "\n".join(["fname,labels,group,split", *rows]), "0": ""})
    more = write_files(tmp_path / "more", {f"{n}.wav": "" for n in range(7)})
    keys = {"folds": 3, "unlabelled": str(more)}
    before = read("csv", tmp_path / "set", folds=3).table
    with_more = read("csv", tmp_path / "set", **keys).table
    write_files(more, {"00.wav": ""})
    for table in (with_more, read("csv", tmp_path / "set", **keys).table):
        assert table[["clip", "fold"]].iloc[:30].equals(before[["clip", "fold"]])
        assert len(table) > 36 and set(table["fold"].iloc[30:]) == ({1, 2} if has_val else {0, 1, 2})


def test_groups_of_unlabelled_recordings_are_matched_below_their_own_folder(tmp_path: Path) -> None:
    labelled = {f"{label}/site{n}_{label}.wav": "" for label in ("dog", "rain") for n in range(4)}
    dataset_dir = write_files(tmp_path / "site8" / "set", labelled)
    more = write_files(tmp_path / "site9" / "more", {f"site{n}.wav": "" for n in range(4)} | {"data.bin": ""})
    dataset = read("folders", dataset_dir, unlabelled=str(more), group_pattern=r"site\d")
    assert set(dataset.table["group"]) == {f"site{n}" for n in range(4)}
    assert len(dataset.warnings) == 1 and f"1 files below {more}" in dataset.warnings[0]


def test_a_table_s_groups_stay_where_the_pattern_matches_nothing(tmp_path: Path) -> None:
    rows = ["a,x,s1", "b,y,s1", "site2/c,x,s3", "d,y,"]
    files = {"labels.csv": "\n".join(["fname,labels,group", *rows]), "a": "", "b": "", "site2/c": "", "d": ""}
    write_files(tmp_path, files)
    for pattern, groups in ((r"^(site\d)/", ["s1", "s1", "site2", "d"]), ("nowhere", ["s1", "s1", "s3", "d"])):
        dataset = read("csv", tmp_path, group_pattern=pattern, folds=2)
        assert dataset.table["group"].tolist() == groups
    write_files(tmp_path, {"labels.csv": "fname,labels\na,x\nb,y\n"})
    assert_refused("csv", tmp_path, "data.group_pattern", "matches in no path", group_pattern="nowhere")


@pytest.mark.parametrize("keys", [{"group_pattern": "x"}, {"unlabelled": "more"}, {"label_pattern": "x"}])
def test_a_folder_without_recordings_is_refused_whatever_the_keys(tmp_path: Path, keys: dict[str, str]) -> None:
    write_files(tmp_path, {"set/a/readme.txt": "", "more/a.wav": ""})
    keys = {key: str(tmp_path / value) if key == "unlabelled" else value for key, value in keys.items()}
    assert_refused("folders", tmp_path / "set", "no clip is for training" if "unlabelled" in keys else "empty", **keys)


def test_unlabelled_rows_of_a_table_have_the_fold_of_their_group_or_one_in_turn(tmp_path: Path) -> None:
    rows = ["a,dog,3,x,", "b,rain,5,y,", "c,,,x,unlabelled", "d,,,z,unlabelled", "e,,,z,unlabelled", "f,,,w,unlabelled"]
    lines = "\n".join(["fname,labels,fold,group,label_quality", *rows, "g,,,,"])
    files = {"labels.csv": lines, **dict.fromkeys("abcdefg", "")}
    table = read("csv", write_files(tmp_path, files)).table.set_index("clip")
    assert table["fold"].to_dict() == {"a": 3, "b": 5, "c": 3, "d": 5, "e": 5, "f": 3, "g": -1}
    assert table.loc["g", "split"] == "test"


def test_unlabelled_clips_of_a_test_group_are_not_trained_on(tmp_path: Path) -> None:
    rows = [f"{n},{'dog' if n % 2 else 'rain'},{n // 2},curated" for n in range(8)]
    rows += [f"{n},,{n - 8},unlabelled" for n in range(8, 12)]
    files = {"labels.csv": "\n".join(["fname,labels,group,label_quality", *rows]), **{str(n): "" for n in range(12)}}
    table = read("csv", write_files(tmp_path, files), test_share=0.5, folds=2).table.set_index("clip")
    tested = set(table.loc[(table["split"] == "test") & (table["labels"] != ""), "group"])
    assert len(tested) == 2
    assert set(table.loc[table["split"] == "test", "label_quality"]) == {"curated", "noisy"}
    assert set(table.loc[table["label_quality"] == "unlabelled", "group"]) == {"0", "1", "2", "3"} - tested


def test_labels_in_time_and_recordings_without_labels_do_not_go_together(tmp_path: Path) -> None:
    files = {"a.wav": "", "a.txt": "0\t1\tdog\n", "b.wav": "", "b.txt": "0\t1\train\n"}
    folder, more = write_files(tmp_path / "set", files), write_files(tmp_path / "more", {"c.wav": ""})
    assert read("annotations", folder).events is not None
    assert_refused("annotations", folder, "data.unlabelled", "labels in time", unlabelled=str(more))


def test_names_of_labels_that_are_not_there_are_told(tmp_path: Path) -> None:
    write_files(tmp_path, dict.fromkeys(["bass/a.wav", "bass/b.wav", "cafe\u0301/c.wav", "cafe\u0301/d.wav"], ""))
    names = {"bass": "double bass", "cafe\u0301": "coffee house"}
    dataset = read("folders", tmp_path, folds=2, label_names=names, label_icons={"caf\u00e9": "☕"})
    assert dataset.warnings == []
    assert name_labels(dataset.vocabulary, Data(label_names=names)) == {
        "bass": "double bass",
        "caf\u00e9": "coffee house",
    }
    dataset = read(
        "folders", tmp_path, folds=2, label_names=names | {"base": "double bass"}, label_icons={"x": "", "y": ""}
    )
    assert dataset.warnings == [
        "data.label_names names 'base': no such label here; correct it, or leave it out",
        "data.label_icons names 'x' and 1 more: no such label here; correct it, or leave it out",
    ]
