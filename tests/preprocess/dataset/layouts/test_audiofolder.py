"""Layout `audiofolder`: as HuggingFace's datasets lay out recordings beside a metadata.csv."""

from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def test_one_table_in_the_folder(tmp_path: Path) -> None:
    table = "file_name,label,labels,speaker,Split\ndata/a.wav,x,z,1,\ndata/b.wav,y,z,1,\ndata/c.wav,y,z,1,TEST\n"
    dataset = read("audiofolder", write_files(tmp_path, {"metadata.csv": table, "data/a.wav": ""}))
    assert columns(dataset.table, "clip", "labels", "split") == [
        ("data/a.wav", "x", "train"),
        ("data/b.wav", "y", "train"),
        ("data/c.wav", "y", "test"),
    ]
    assert dataset.table["path"].iloc[1] == str(tmp_path / "data" / "b.wav")
    assert dataset.notes == [f"{tmp_path}/metadata.csv: columns labels, speaker are not read"]


def test_recordings_elsewhere_are_named_by_their_whole_path(tmp_path: Path) -> None:
    write_files(tmp_path, {"set/metadata.csv": f"file_name,label\n{tmp_path}/a.wav,x\nb.wav,y\n", "a.wav": ""})
    table = read("audiofolder", tmp_path / "set").table
    assert columns(table, "clip", "path") == [
        (f"{tmp_path}/a.wav", f"{tmp_path}/a.wav"),
        ("b.wav", f"{tmp_path}/set/b.wav"),
    ]


def test_a_table_a_split(tmp_path: Path) -> None:
    files = {
        "train/metadata.csv": "file_name,labels\na.wav,\"['x', 'y']\"\nb.wav,\"['y']\"\nc.wav,\"['x']\"\n",
        "validation/metadata.csv": "file_name,labels\na.wav,x\n",
        "test/metadata.csv": "file_name,text\na.wav,who knows\n",
        "more/metadata.csv": "file_name,label\nd.wav,y\n",
        "train/a.wav": "",
    }
    dataset = read("audiofolder", write_files(tmp_path, files), folds=3)
    assert not dataset.warnings
    table = dataset.table.set_index("clip")
    assert table.loc["train/a.wav", "labels"] == "x;y"
    assert table.loc[["validation/a.wav", "test/a.wav"], "split"].tolist() == ["train", "test"]
    assert table.loc["validation/a.wav", "fold"] == 0 and table.loc["test/a.wav", "labels"] == ""
    assert set(table["fold"].iloc[[0, 1, 2]]) <= {-1, 1, 2, 0}


def test_one_table_beside_the_folders_of_splits(tmp_path: Path) -> None:
    rows = [f"train/{n}.wav,{'xy'[n % 2]}," for n in range(4)] + [
        "validation/0.wav,x,",
        "test/0.wav,y,",
        "test/1.wav,,",
    ]
    table = "\n".join(["file_name,label,split", *rows, "test/2.wav,x,train"])
    clips = read("audiofolder", write_files(tmp_path, {"metadata.csv": table, "test/0.wav": ""})).table.set_index(
        "clip"
    )
    assert clips["split"].tolist() == ["train"] * 5 + ["test"] * 2 + ["train"]
    assert clips.loc[["validation/0.wav", "test/0.wav"], "fold"].tolist() == [0, -1]
    assert clips.loc["test/0.wav", "labels"] == "y"
    write_files(tmp_path, {"metadata.csv": table.replace("test/2", "more/2")})
    warning = read("audiofolder", tmp_path).warnings[0]
    assert warning.startswith("folders test, train, validation are not read as splits, for 'more' is beside them")


def test_labels_of_all_tables_are_joined_alike(tmp_path: Path) -> None:
    files = {
        "train/metadata.csv": 'file_name,labels\na.wav,"x, y"\nb.wav,x\nc.wav,y\n',
        "validation/metadata.csv": 'file_name,labels\na.wav,"x, y"\n',
        "train/a.wav": "",
    }
    dataset = read("audiofolder", write_files(tmp_path, files))
    assert dataset.table["labels"].tolist() == ["x;y", "x", "y", "x;y"]
    assert dataset.notes == [f"{tmp_path}: labels are joined by ',': 'x, y' is read as several"]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"a/1.wav": ""}, ["has no metadata.csv", "layout folders"]),
        ({"metadata.csv": "file_name,text\na.wav,x\n"}, ["no column label or labels", "file_name, text"]),
        ({"metadata.csv": "name,label\na.wav,x\n"}, ["no column file_name"]),
    ],
)
def test_bad_folders_are_refused(tmp_path: Path, files: dict[str, str], words: list[str]) -> None:
    assert_refused("audiofolder", write_files(tmp_path, files), *words)
