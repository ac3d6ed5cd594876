"""Names of notes, against librosa's reading of them."""

import librosa
import pytest

from preprocess.dataset.note_names import PITCH_CLASSES, normalize_note, note_name, note_sort_key


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
