"""Layout `annotations`: labels of recordings from their events, negatives, unknown recordings, splits and groups."""

from pathlib import Path

import pytest

from core.errors import UserError
from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files

TABLE = "fname,start_s,end_s,label\na.wav,0,1,wren\na.wav,2,3,robin\na.wav,4,5,wren\nb.wav,0,1,wren\nc.wav,,,\n"


def test_recordings_have_the_labels_of_their_events(tmp_path: Path) -> None:
    write_files(tmp_path, dict.fromkeys(("a.wav", "b.wav", "c.wav", "d.wav"), "") | {"events.csv": TABLE})
    dataset = read("annotations", tmp_path)
    assert columns(dataset.table, "clip", "labels", "split") == [
        ("a.wav", "robin;wren", "train"),
        ("b.wav", "wren", "train"),
        ("c.wav", ";", "train"),
        ("d.wav", "", "test"),
    ]
    assert dataset.events is not None and dataset.warnings == []
    assert columns(dataset.events, "clip", "start_s", "label")[1] == ("a.wav", 2.0, "robin")
    assert dataset.notes == [
        "4 events in 2 of 4 recordings; no table names 1 of them: they are predicted and not trained on",
        "1 clips have no label and are negatives",
    ]


def test_a_table_a_recording_beside_it_or_in_a_folder_of_its_own(tmp_path: Path) -> None:
    tables = {"x/a.txt": "0\t1\twren\n", "x/b.txt": "", "y/a.txt": "0\t1\trobin\n"}
    for place in ("", "tables/"):
        folder = tmp_path / f"set{len(place)}"
        write_files(folder, dict.fromkeys(("x/a.wav", "x/b.wav", "y/a.wav"), ""))
        write_files(folder, {place + name: text for name, text in tables.items()})
        keys = {"table": str(folder / "tables")} if place else {}
        labels = columns(read("annotations", folder, **keys).table, "clip", "labels")
        assert labels == [("x/a.wav", "wren"), ("x/b.wav", ";"), ("y/a.wav", "robin")]


def test_tables_in_linked_folders_are_read_as_recordings_there_are(tmp_path: Path) -> None:
    write_files(tmp_path / "set", {"a.wav": "", "a.txt": "0\t1\twren\n"})
    write_files(tmp_path / "more", {"b.wav": "", "b.txt": "0\t1\trobin\n"})
    (tmp_path / "set" / "linked").symlink_to(tmp_path / "more")
    table = read("annotations", tmp_path / "set").table
    assert columns(table, "clip", "labels") == [("a.wav", "wren"), ("linked/b.wav", "robin")]


def test_folders_of_splits_and_their_unknown_recordings(tmp_path: Path) -> None:
    names = ("train/a.wav", "train/b.wav", "train/c.wav", "test/d.wav", "test/e.wav", "val/f.wav")
    tracks = dict.fromkeys(("train/a.txt", "train/b.txt", "test/d.txt", "val/f.txt"), "0\t1\twren\n1\t2\trobin\n")
    dataset = read("annotations", write_files(tmp_path, dict.fromkeys(names, "") | tracks))
    assert columns(dataset.table, "clip", "split", "fold") == [
        ("test/d.wav", "test", -1),
        ("test/e.wav", "test", -1),
        ("train/a.wav", "train", 1),
        ("train/b.wav", "train", 1),
        ("val/f.wav", "train", 0),
    ]
    assert dataset.warnings == ["1 recordings are in no table and are left out, the first 'train/c.wav'"]
    write_files(tmp_path, {"loose.wav": ""})
    assert columns(read("annotations", tmp_path).table.query("split == 'test'"), "clip", "labels") == [
        ("loose.wav", ""),
        ("test/d.wav", "robin;wren"),
        ("test/e.wav", ""),
    ]
    write_files(tmp_path, {"_background/g.wav": "", "_background/g.txt": ""})
    assert columns(read("annotations", tmp_path).table.query("labels == ';'"), "clip", "split") == [
        ("_background/g.wav", "train")
    ]
    write_files(tmp_path, {"more/h.wav": ""})
    (warning,) = read("annotations", tmp_path).warnings
    assert warning.startswith("folders test, train, val are not read as splits, for 'more' is beside them")


def test_one_label_is_enough_where_recordings_have_it_in_part(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.wav": "", "b.wav": "", "a.txt": "0\t1\twren\n", "b.txt": "0\t1\twren\n"})
    assert read("annotations", tmp_path).vocabulary == ["wren"]


def test_sites_are_groups_that_folds_keep_whole(tmp_path: Path) -> None:
    names = [f"site{site}/day{day}/{hour}.wav" for site in range(3) for day in range(2) for hour in range(3)]
    tracks = {name.replace(".wav", ".txt"): f"0\t1\t{'wren' if '1' in name else 'robin'}\n" for name in names}
    write_files(tmp_path, dict.fromkeys([*names, "loose.wav"], "") | tracks | {"loose.txt": "0\t1\twren\n"})
    for pattern, n_groups in ((r"^site\d", 3), (r"^(site\d/day\d)", 6), (r"site(\d)/day(?P<group>\d)", 2)):
        dataset = read("annotations", tmp_path, group_pattern=pattern)
        assert dataset.table.groupby("group")["fold"].nunique().max() == 1
        assert dataset.table["group"].nunique() == n_groups + 1
        assert f"{n_groups} groups by data.group_pattern; 1 recordings match it nowhere" in dataset.notes[1]
    assert_refused("annotations", tmp_path, "data.group_pattern", "matches in no path", group_pattern="^nowhere")
    assert_refused("annotations", tmp_path, "data.group_pattern", "no regular expression", group_pattern="(")


def test_a_dataset_whose_tables_all_have_other_columns_is_refused_by_their_name(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.wav": "", "b.wav": "", "events.csv": "file,begin,end,species\na.wav,0,1,wren\n"})
    assert_refused("annotations", tmp_path, "events.csv has no columns of events", "data.columns")


def test_texts_that_are_no_tables_are_counted(tmp_path: Path) -> None:
    write_files(
        tmp_path, {"a.wav": "", "b.wav": "", "README.txt": "words", "events.csv": TABLE.replace("c.wav,,,\n", "")}
    )
    assert read("annotations", tmp_path).warnings == [
        "1 texts or tables have no columns of events and are left out, as 'README.txt'"
    ]


def test_bad_tables_are_refused_in_a_line(tmp_path: Path) -> None:
    write_files(tmp_path, {"a.wav": "", "events.csv": TABLE})
    assert_refused("annotations", tmp_path, "events.csv line 5", "'b.wav'")
    with pytest.raises(UserError, match="label 'robin', which is not in the vocabulary"):
        write_files(tmp_path, {"b.wav": "", "c.wav": ""})
        read("annotations", tmp_path, labels=["wren", "owl"])
