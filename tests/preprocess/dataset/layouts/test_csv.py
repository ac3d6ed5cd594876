"""Layout `csv`: every column, defaults, and each way a table can be wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def test_csv_with_every_column(tmp_path: Path) -> None:
    table = (
        "fname,note,labels,fold,group,split,label_quality\n"
        '"a, b.wav",x,"rain, heavy; 犬 ;rain, heavy",1,g,train,\n'
        "sub/c.dat,x,犬,1,g,,noisy\n"
        "d.wav,x,rain; 犬,0,,train,curated\n"
        "e.wav,x,犬,,,test,\n"
    )
    dataset = read(
        "csv", write_files(tmp_path, {"labels.csv": table, "d.wav": ""}), labels=["rain", "rain, heavy", "犬"]
    )
    assert columns(dataset.table, "clip", "labels", "fold", "split", "group", "label_quality") == [
        ("a, b.wav", "rain, heavy;犬", 1, "train", "g", "curated"),
        ("sub/c.dat", "犬", 1, "train", "g", "noisy"),
        ("d.wav", "rain;犬", 0, "train", "d.wav", "curated"),
        ("e.wav", "犬", -1, "test", "e.wav", "curated"),
    ]
    assert dataset.table["path"].iloc[1] == str(tmp_path / "sub" / "c.dat")
    assert dataset.vocabulary == ["rain", "rain, heavy", "犬"]


def test_optional_columns_are_known_in_any_case_and_others_are_told(tmp_path: Path) -> None:
    table = ",fname,labels,Split, FOLD,Group,group,weight\n0,a,x,,1,,g,1\n1,b,y,,0,g,h,2\n2,c,x,Test,,,,3\n"
    dataset = read("csv", write_files(tmp_path, {"labels.csv": table, "a": ""}))
    assert columns(dataset.table, "split", "fold", "group") == [("train", 1, "g"), ("train", 0, "h"), ("test", -1, "c")]
    assert dataset.notes == [f"{tmp_path}/labels.csv: columns Group, weight are not read"]


def test_csv_rows_without_labels_are_to_be_predicted(tmp_path: Path) -> None:
    write_files(tmp_path, {"labels.csv": "fname,labels\na,x\nb,y\nc,\n", "c": ""})
    assert list(read("csv", tmp_path).table["split"]) == ["train", "train", "test"]


def test_training_rows_without_labels_are_negatives(tmp_path: Path) -> None:
    table = "fname,labels,split\na,x,train\nb,x,train\nc,,train\nd,,train\ne,,test\n"
    dataset = read("csv", write_files(tmp_path, {"labels.csv": table, "a": ""}))
    assert dataset.table["labels"].tolist() == ["x", "x", ";", ";", ""]
    assert dataset.vocabulary == ["x"], "one label is told from none"
    assert dataset.table["fold"].value_counts().to_dict() == {0: 2, 1: 2, -1: 1}
    assert dataset.notes == ["2 clips have no label and are negatives"]
    (tmp_path / "labels.csv").write_text("fname,labels,split\na,['x'],\nb,['x'],\nc,[],\nd,[],train\ne,[],test\nf,,\n")
    clips = read("csv", tmp_path).table
    assert clips["labels"].tolist() == ["x", "x", ";", ";", ";", ""]
    assert clips["split"].tolist() == ["train"] * 4 + ["test"] * 2


def test_names_groups_and_folds_as_other_programs_write_them(tmp_path: Path) -> None:
    """Spaces about them, accents in two forms of Unicode, and folds that a missing one has made decimal."""
    composed, apart = "\u00e9", "e\u0301"
    table = f"fname,labels,fold,group\na.wav ,x,0.0,{composed}\n {composed}.wav,{apart},0.0,{apart}\nc.wav,x,1.00,k\n"
    dataset = read("csv", write_files(tmp_path, {"labels.csv": table, "a.wav": "", f"{apart}.wav": "", "c.wav": ""}))
    assert list(dataset.table["path"]) == [str(tmp_path / name) for name in ("a.wav", f"{apart}.wav", "c.wav")]
    assert columns(dataset.table, "labels", "fold", "group") == [
        ("x", 0, composed),
        (composed, 0, composed),
        ("x", 1, "k"),
    ]
    named = read("csv", tmp_path, labels=[apart, "x"])
    assert named.vocabulary == [composed, "x"]


def test_few_curated_clips_are_spread_over_the_folds(tmp_path: Path) -> None:
    rows = ["a,x,,curated", "b,y,,curated", *(f"n{number},x;y,g,noisy" for number in range(10))]
    write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels,group,label_quality", *rows]), "a": ""})
    folds = dict(columns(read("csv", tmp_path, folds=2).table, "clip", "fold"))
    assert {folds["a"], folds["b"]} == {0, 1}


def test_csv_beside_the_recordings(tmp_path: Path) -> None:
    write_files(tmp_path, {"mine.csv": "fname,labels\na.wav,x\nb.wav,y\n", "sound/a.wav": ""})
    dataset = read("csv", tmp_path / "sound", table=str(tmp_path / "mine.csv"))
    assert list(dataset.table["path"]) == [str(tmp_path / "sound" / name) for name in ("a.wav", "b.wav")]


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("fname,label\na,x\n", ["labels.csv", "no column labels"]),
        ("fname,labels\n", ["empty"]),
        ("fname,labels\na,x\nb,x\na,y\n", ["'a' stands in two rows", "joined by ';'"]),
        ("fname,labels,fold\na,x,0\nb,y,\n", ["b", "fold ''"]),
        ("fname,labels,fold\na,x,0\nb,y,-1\n", ["b", "'-1'", "whole number"]),
        (f"fname,labels,fold\na,x,0\nb,y,{'9' * 30}\n", ["b", "at most nine digits"]),
        ("fname,labels,fold,group\na,x,0,g\nb,y,1,g\n", ["'g'", "0 and 1"]),
        ("fname,labels,fold\na,x,2\nb,y,2\n", ["fold 2"]),
        ("fname,labels,split\na,x,learn\nb,x,\n", ["a", "'learn'"]),
        ("fname,labels,trust\na,x,curated\nb,y,noisy\n", ["column trust", "label_quality", "rename"]),
        ("fname,labels,Split,SPLIT\na,x,,\nb,y,,\n", ["labels.csv", "Split and SPLIT", "keep one"]),
        ("fname,labels,label_quality\na,x,high\nb,x,\n", ["a", "'high'"]),
        ("fname,labels,label_quality\na,x,noisy\nb,y,noisy\n", ["no curated clip"]),
        ("fname,labels\na,\n", ["no clip is for training"]),
        ('fname,labels\na,x\nb, "y"\n', ["labels.csv, b", "stands in quotes", "no space"]),
        ('fname,labels\na,x\nb,"y\nz"\n', ["labels.csv, b", "line break"]),
        ("fname,labels\na,x\nb,[None]\n", ["labels.csv, b", "labels [None] are no list of words"]),
    ],
)
def test_bad_csvs_are_refused(tmp_path: Path, table: str, words: list[str]) -> None:
    assert_refused("csv", write_files(tmp_path, {"labels.csv": table, "a": ""}), *words)


def test_a_missing_table_is_named_with_the_key_that_changes_it(tmp_path: Path) -> None:
    assert_refused("csv", tmp_path, "labels.csv is not there", "data.table")


def test_a_recording_that_is_missing_stays_but_not_if_all_are(tmp_path: Path) -> None:
    table = {"labels.csv": "fname,labels\na,x\nb,y\n"}
    assert_refused("csv", write_files(tmp_path, table), "none of 2 recordings", f"{tmp_path}/a)", "endings")
    assert list(read("csv", write_files(tmp_path, {"b": ""})).table["clip"]) == ["a", "b"]


@pytest.mark.parametrize("train", ["Train", ""])
def test_splits_as_other_datasets_name_them(tmp_path: Path, train: str) -> None:
    rows = [*(f"{number},{'xy'[number % 2]},{train}" for number in range(8)), "v,x,VAL", "w,y,dev", "t,x,eval"]
    write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels,split", *rows]), "0": ""})
    table = read("csv", tmp_path, folds=3).table.set_index("clip")
    assert table["split"].value_counts().to_dict() == {"train": 10, "test": 1}
    assert table.loc[["v", "w", "t"], "fold"].tolist() == [0, 0, -1]
    assert set(table["fold"].iloc[:8]) == {1, 2}


@pytest.mark.parametrize(
    ("n_groups", "n_val", "advice"),
    [
        (3, 0, "3 group(s): set data.folds to 3 or less"),
        (1, 0, "1 group(s): folds need at least two groups"),
        (3, 1, "3 group(s): set data.folds to 4 or less"),
        (1, 2, "1 group(s): set data.folds to 2 or less"),
    ],
)
def test_fewer_groups_than_folds_say_the_number_that_works(
    tmp_path: Path, n_groups: int, n_val: int, advice: str
) -> None:
    rows = [f"{number},{'xy'[number // 6]},{number % n_groups},train" for number in range(12)]
    rows += [f"v{number},x,v{number},val" for number in range(n_val)]
    write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels,group,split", *rows]), "0": ""})
    assert_refused("csv", tmp_path, f"data.folds = 5, but the training clips are of {advice}", folds=5)
    if "set data.folds" in advice:
        n_folds = n_groups + bool(n_val)
        assert read("csv", tmp_path, folds=n_folds).table["fold"].nunique() == n_folds


@pytest.mark.parametrize(
    ("cells", "labels", "note"),
    [
        (['"Bass_drum,Drum"', "Drum", "Rain"], "Bass_drum;Drum", "labels are joined by ','"),
        (['"rain, wind"', "rain", "wind"], "rain;wind", "labels are joined by ','"),
        (['"rain, heavy"', "wind", "rain"], "rain, heavy", "'rain, heavy' is read as one label"),
        (['"rain, heavy;wind"', "wind", '"rain, heavy"'], "rain, heavy;wind", ""),
        (["rain|wind", "rain", "wind"], "rain;wind", "labels are joined by '|'"),
        (["\"['rain', 'wind']\"", "['rain']", "[]"], "rain;wind", "are read as lists"),
        (["\"['rain' 'wind']\"", "['rain']", "rain"], "rain;wind", "are read as lists"),
        (['"[""rain, heavy"", ""wind""]"', "wind", "x"], "rain, heavy;wind", "are read as lists"),
        (['"[rain, wind]"', "[wind]", "[x]"], "rain;wind", "are read as lists"),
        (["\"{'wind', 'rain', 'bird', 'frog'}\"", "wind", "x"], "bird;frog;rain;wind", "are read as lists"),
        (["[{[rain]}]", "[wind]", "[x]"], "{[rain]}", "are read as lists"),
    ],
)
def test_labels_are_read_as_other_datasets_join_them(tmp_path: Path, cells: list[str], labels: str, note: str) -> None:
    rows = [f"{number},{cell}" for number, cell in enumerate([*cells, *cells[1:]])]
    dataset = read("csv", write_files(tmp_path, {"labels.csv": "\n".join(["fname,labels", *rows]), "0": ""}))
    assert dataset.table["labels"].iloc[0] == labels
    told = [one for one in dataset.notes if "negatives" not in one]
    assert note in "".join(told) and len(told) == bool(note)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_tables_of_other_programs(tmp_path: Path, delimiter: str) -> None:
    rows = [("fname", "labels"), ("0", '"x;y"'), ("1", "x"), ("2", "y")]
    text = "\ufeff" + "".join(f"{delimiter.join(row)}\r\n" for row in rows)
    (tmp_path / "0").touch()
    (tmp_path / "labels.csv").write_bytes(text.encode())
    assert read("csv", tmp_path).table["labels"].tolist() == ["x;y", "x", "y"]


@pytest.mark.parametrize("name", ["fsd50k_like.csv", "pylist.csv"])
def test_tables_that_were_misread(tmp_path: Path, name: str, real_sound: Callable[[str], Path]) -> None:
    path = real_sound("misread_audio") / name
    write_files(tmp_path, {f"audio/{file}": "" for file in ("1000.wav", "low0.wav")})
    dataset = read("csv", tmp_path, table=str(path))
    found = {tuple(labels.split(";")) for labels in dataset.table["labels"]}
    assert found & {("Bass_drum", "Drum", "Percussion"), ("low", "loud")}
    assert len(dataset.vocabulary) == {"fsd50k_like.csv": 7, "pylist.csv": 4}[name]
