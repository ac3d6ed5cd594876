"""Layout `audiofolder`: as HuggingFace's datasets lay out recordings beside a metadata.csv."""

from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def test_one_table_in_the_folder(tmp_path: Path) -> None:
    table = "file_name,label,speaker\ndata/a.wav,x,1\ndata/b.wav,y,1\n"
    dataset = read("audiofolder", write_files(tmp_path, {"metadata.csv": table, "data/a.wav": ""}))
    assert columns(dataset.table, "clip", "labels", "split") == [
        ("data/a.wav", "x", "train"),
        ("data/b.wav", "y", "train"),
    ]
    assert dataset.table["path"].iloc[1] == str(tmp_path / "data" / "b.wav")


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
        "train/a.wav": "",
    }
    dataset = read("audiofolder", write_files(tmp_path, files), folds=3)
    table = dataset.table.set_index("clip")
    assert table.loc["train/a.wav", "labels"] == "x;y"
    assert table.loc[["validation/a.wav", "test/a.wav"], "split"].tolist() == ["train", "test"]
    assert table.loc["validation/a.wav", "fold"] == 0 and table.loc["test/a.wav", "labels"] == ""
    assert set(table["fold"].iloc[[0, 1, 2]]) <= {-1, 1, 2, 0}


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
