"""Layout `folders`: labels in any script, what is left out, what is refused."""

from pathlib import Path

import pytest

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def test_folders_are_labels_in_any_script(tmp_path: Path) -> None:
    names = ["dog, big", "été", "犬", "собака"]
    files = {f"{name}/{number}.wav": "" for name in names for number in "12"}
    dataset = read("folders", write_files(tmp_path, files | {"犬/only.ogg": "", "readme.txt": "", ".cache/x.wav": ""}))
    assert dataset.vocabulary == sorted(names)
    assert ("犬/only.ogg", "犬") in columns(dataset.table, "clip", "labels")
    assert ("dog, big/1.wav", "dog, big") in columns(dataset.table, "clip", "labels")
    assert set(columns(dataset.table, "split", "label_quality")) == {("train", "curated")}
    assert list(dataset.table["path"]) == [str(path) for path in sorted(tmp_path.glob("[!.]*/*"))]
    assert (dataset.table["group"] == dataset.table["clip"]).all()
    assert dataset.sample is None
    assert dataset.warnings == []


def test_folders_note_what_they_leave_out(tmp_path: Path) -> None:
    dataset = read(
        "folders", write_files(tmp_path, {"a/1.wav": "", "b/2.wav": "", "c;d/notes.txt": "", "loose.wav": ""})
    )
    assert dataset.vocabulary == ["a", "b"], "a folder that is no class may have any name"
    assert [note.split()[0:2] for note in dataset.warnings] == [["folder", "'c;d'"], ["1", "recording(s)"]]


def test_folders_below_a_class_belong_to_it(tmp_path: Path) -> None:
    dataset = read("folders", write_files(tmp_path, {"a/x/1.wav": "", "a/y/1.wav": "", "b/2.wav": ""}))
    assert columns(dataset.table, "clip", "labels") == [("a/x/1.wav", "a"), ("a/y/1.wav", "a"), ("b/2.wav", "b")]


def test_one_more_file_gives_no_other_clip_another_name(tmp_path: Path) -> None:
    before = read("folders", write_files(tmp_path, {"a/1.wav": "", "b/2.wav": ""})).table["clip"]
    assert set(before) < set(read("folders", write_files(tmp_path, {"a/2.wav": ""})).table["clip"])


def test_a_class_named_like_a_column_of_the_csvs_is_refused(tmp_path: Path) -> None:
    assert_refused("folders", write_files(tmp_path, {"clip/1.wav": "", "b/2.wav": ""}), "'clip'", "name it otherwise")


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
    assert_refused("folders", write_files(tmp_path, files), *words, folds=3)


def test_a_label_outside_the_wanted_ones_is_named(tmp_path: Path) -> None:
    assert_refused(
        "folders", write_files(tmp_path, {"a/1.wav": "", "b/2.wav": ""}), "2.wav", "'b'", "data.labels", labels=["a"]
    )


def test_train_val_and_test_folders_are_splits(tmp_path: Path) -> None:
    files = {f"Train/{name}/{number}.wav": "" for name in ("dog", "犬") for number in range(6)}
    files |= {"validation/dog/v.wav": "", "validation/犬/v.wav": "", "test/dog/t.wav": "", "test/unknown.wav": ""}
    files |= {"docs/readme.txt": "", "Train/loose.wav": ""}
    dataset = read("folders", write_files(tmp_path, files), folds=3)
    assert dataset.vocabulary == ["dog", "犬"]
    table = dataset.table.set_index("clip")
    assert list(table.loc["test/unknown.wav", ["labels", "split"]]) == ["", "test"]
    assert list(table.loc["test/dog/t.wav", ["labels", "split"]]) == ["dog", "test"]
    is_val = table.index.str.startswith("validation/")
    assert (table.loc[is_val, "fold"] == 0).all() and (table.loc[is_val, "split"] == "train").all()
    assert set(table.loc[table.index.str.startswith("Train/"), "fold"]) == {1, 2}
    assert dataset.notes == ["read as splits and not as classes: Train/ (train), test/ (test), validation/ (val)"]
    assert len(dataset.warnings) == 1 and "1 recording(s) beside the class folders in" in dataset.warnings[0]
    assert set(read("folders", tmp_path, folds=2).table["fold"]) == {0, 1, -1}


def test_classes_named_as_splits_are_classes(tmp_path: Path) -> None:
    """Where one is not, or where there are no classes in them."""
    for name, files in {
        "a sound": {"train/1.wav": "", "train/2.wav": "", "test/1.wav": "", "test/2.wav": ""},
        "one more": {"train/x/1.wav": "", "test/2.wav": "", "plane/3.wav": ""},
    }.items():
        dataset = read("folders", write_files(tmp_path / name, files))
        assert {"train", "test"} <= set(dataset.vocabulary)
        assert set(dataset.table["split"]) == {"train"}
        advice = "move 'plane' into one of them, or elsewhere"
        expected = [f"folders test, train are not read as splits, for 'plane' is beside them: {advice}"]
        assert dataset.warnings == (expected if name == "one more" else [])


def test_the_background_s_folder_may_stand_beside_those_of_splits(tmp_path: Path) -> None:
    names = [f"{split}/{label}/{number}.wav" for split in ("train", "test") for label in "ab" for number in "12"]
    write_files(tmp_path, dict.fromkeys([*names, "_background/x/1.wav", "_background/2.wav"], ""))
    dataset = read("folders", tmp_path)
    assert (dataset.vocabulary, dataset.warnings) == (["a", "b"], [])
    assert columns(dataset.table, "clip", "labels", "split")[:2] == [
        ("_background/2.wav", ";", "train"),
        ("_background/x/1.wav", ";", "train"),
    ]
    assert set(dataset.table.loc[dataset.table["split"] == "test", "clip"]) == set(names[4:])


@pytest.mark.parametrize("splits", [("",), ("train/", "test/")])
def test_the_background_s_folder_is_no_label(tmp_path: Path, splits: tuple[str, ...]) -> None:
    files = {
        f"{split}{name}/{number}.wav": "" for split in splits for name in ("a", "b", "_background") for number in "12"
    }
    dataset = read("folders", write_files(tmp_path, files))
    assert dataset.vocabulary == ["a", "b"]
    known = dataset.table[dataset.table["labels"] == ";"]
    assert known["clip"].tolist() == [f"{split}_background/{number}.wav" for split in sorted(splits) for number in "12"]
    assert set(read("folders", tmp_path, background="b").vocabulary) == {"a", "_background"}
