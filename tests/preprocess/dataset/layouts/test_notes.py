"""Layout `notes`: labels out of names, against librosa's reading of them; instruments as groups; splits."""

from pathlib import Path

import librosa
import pytest

from preprocess.dataset.layouts.notes import PITCH_CLASSES, normalize_note, note_name, note_sort_key
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


def test_splits_are_named_as_in_other_layouts(tmp_path: Path) -> None:
    names = [f"{split}/p/{note}.wav" for split in ("Train", "val", "Test") for note in ("A3", "B3")]
    dataset = read("notes", write_files(tmp_path, dict.fromkeys(names, "")))
    assert columns(dataset.table, "clip", "split", "fold", "group")[::2] == [
        ("Test/p/A3.wav", "test", -1, "p"),
        ("Train/p/A3.wav", "train", 1, "p"),
        ("val/p/A3.wav", "train", 0, "val/p"),
    ]
    (warning,) = read("notes", write_files(tmp_path, {"more/A3.wav": ""})).warnings
    assert warning.startswith("folders Test, Train, val are not read as splits, for 'more' is beside them")


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


@pytest.mark.parametrize("key", range(21, 109))
def test_names_of_keys_are_librosa_s_and_read_back(key: int) -> None:
    note = note_name(key)
    assert note == librosa.midi_to_note(key, unicode=False)
    assert normalize_note(note) == note
    assert normalize_note(note, octave=False) == PITCH_CLASSES[key % 12]


@pytest.mark.parametrize("name", ["Bb3", "B♭3", "Cb4", "B#3", "E#2", "Fb2", "A♯3", "a3", "bb3", "C-1"])
def test_every_way_to_write_a_note_is_the_same_key(name: str) -> None:
    cleaned = normalize_note(name)
    assert cleaned
    assert librosa.note_to_midi(cleaned) == librosa.note_to_midi(name)


def test_a_sharp_may_be_an_s_as_in_names_of_samples() -> None:
    assert normalize_note("Fs4") == "F#4"


@pytest.mark.parametrize("name", ["", "H3", "A3b", "A##3", "note", "3", "A 3", "A333"])
def test_what_is_no_note_is_none(name: str) -> None:
    assert normalize_note(name) is None


def test_a_note_without_an_octave_is_a_pitch_class() -> None:
    assert normalize_note("Db") == "C#"


def test_notes_are_ordered_by_height_not_by_letter() -> None:
    notes = ["A3", "C4", "C-1", "B2", "C#3", "C3"]
    assert sorted(notes, key=note_sort_key) == ["C-1", "B2", "C3", "C#3", "A3", "C4"]
    assert sorted(["A", "C", "B", "C#"], key=note_sort_key) == ["C", "C#", "A", "B"]
