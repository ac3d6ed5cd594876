"""Layout `notes`: labels out of names, instruments as groups, train/ and test/ as splits."""

from pathlib import Path

from tests.preprocess.dataset_factories import assert_refused, columns, read, write_files


def test_names_carry_the_notes_of_a_flat_folder(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path, dict.fromkeys(["A3_1.wav", "A3_2.wav", "C#4_1.flac", "Db4_2.wav", "B3+F4_1.wav"], "")
    )
    dataset = read("notes", folder)
    assert dataset.vocabulary == ["A3", "B3", "C#4", "F4"]
    assert columns(dataset.table, "clip", "labels", "split", "group") == [
        ("A3_1.wav", "A3", "train", "A3_1.wav"),
        ("A3_2.wav", "A3", "train", "A3_2.wav"),
        ("B3+F4_1.wav", "B3;F4", "train", "B3+F4_1.wav"),
        ("C#4_1.flac", "C#4", "train", "C#4_1.flac"),
        ("Db4_2.wav", "C#4", "train", "Db4_2.wav"),
    ]


def test_octaves_fold_into_pitch_classes(tmp_path: Path) -> None:
    dataset = read(
        "notes", write_files(tmp_path, dict.fromkeys(["A3_1.wav", "A4+C2_1.wav", "C5+C4.wav"], "")), note_octaves=False
    )
    assert dataset.vocabulary == ["C", "A"]
    assert list(dataset.table["labels"]) == ["A", "A;C", "C"]


def test_instruments_are_groups_and_stay_in_one_fold(tmp_path: Path) -> None:
    names = [f"train/{player}/{note}_1.wav" for player in "pqrs" for note in ("A3", "B3")]
    table = read(
        "notes", write_files(tmp_path, dict.fromkeys([*names, "test/oboe/A3_1.wav", "test/unknown.wav"], ""))
    ).table
    known = {clip: facts for clip, *facts in columns(table, "clip", "labels", "split", "group")}
    assert known["test/oboe/A3_1.wav"] == ["A3", "test", "oboe"]
    assert known["test/unknown.wav"] == ["", "test", "test/unknown.wav"]
    training = table[table["split"] == "train"]
    assert set(training["group"]) == set("pqrs")
    assert (training.groupby("group")["fold"].nunique() == 1).all()


def test_folders_named_train_alone_are_no_splits(tmp_path: Path) -> None:
    dataset = read("notes", write_files(tmp_path, dict.fromkeys(["train/A3_1.wav", "x/A3_1.wav", "x/B3_1.wav"], "")))
    assert set(dataset.table["split"]) == {"train"}
    assert set(dataset.table["group"]) == {"train", "x"}


def test_a_training_name_without_a_note_is_refused(tmp_path: Path) -> None:
    assert_refused("notes", write_files(tmp_path, {"A3_1.wav": "", "take 1.wav": ""}), "take 1.wav", "A3_1.wav", "csv")
    assert_refused("notes", write_files(tmp_path / "more", {"A3+H_1.wav": "", "B3_1.wav": ""}), "A3+H_1.wav")


def test_a_test_note_that_was_never_trained_on_is_named(tmp_path: Path) -> None:
    names = ["train/p/A3_1.wav", "train/q/B3_1.wav", "test/r/C4_1.wav"]
    assert_refused("notes", write_files(tmp_path, dict.fromkeys(names, "")), "C4_1.wav", "C4", "data.labels")
