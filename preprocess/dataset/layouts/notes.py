"""Layout `notes`: recordings whose names say which notes sound, as A3_1.wav, or A3+C#4+E4_1.wav for several at once."""

import re
from pathlib import Path

import pandas as pd

from core.errors import UserError
from preprocess.dataset.discovery import RawDataset, describe_left_out, find_audio_files
from preprocess.dataset.labels import join_labels, split_labels
from preprocess.dataset.splits import splits_of
from recipe import Data

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
"""The labels of pitch classes, by sharps, so that A# and Bb are one."""
NOTE = re.compile(r"([A-Ga-g])([#♯sb♭]?)(-?\d{1,2})?")
ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1}


def read(data: Data, folder: Path) -> RawDataset:
    """List notes: the part of a name before its first '_', joined by '+', flats written as sharps.

    Folders train/, val/ and test/ are splits where there is no other folder but the background's; recordings of one
    folder below, an instrument's, are one group. With data.note_octaves false the labels are pitch classes. The
    vocabulary rises from C. Raises UserError for a training clip that names no note.
    """
    left_out = list[Path]()
    names = [file.relative_to(folder) for file in find_audio_files(folder, left_out)]
    splits, warnings = splits_of(names, data.background)
    rows = [
        {"clip": str(name), "path": str(folder / name), **_parse_name(name, split, data.note_octaves)}
        for name, split in zip(names, splits, strict=True)
    ]
    labels = {label for row in rows if row["split"] != "test" for label in split_labels(row["labels"])}
    warnings += describe_left_out(folder, left_out)
    return RawDataset(pd.DataFrame(rows, dtype="str"), sorted(labels, key=note_sort_key) or None, warnings=warnings)


def _parse_name(name: Path, split: str, octave: bool) -> dict[str, str]:
    """Labels, split and group of a recording, by its path within the dataset; '' for unknown ones."""
    folders = name.parts[1 if split in ("train", "test") else 0 : -1]  # an instrument may be in val/ and train/
    notes = [normalize_note(note, octave=octave) for note in name.stem.partition("_")[0].split("+")]
    known = [note for note in notes if note]
    if len(known) < len(notes) and split != "test":
        advice = "rename it as A3_1.wav, or A3+C4_1.wav for several notes, or set data.layout to csv or folders"
        raise UserError(f"{name} names no note before its first '_': {advice}")
    labels = join_labels(known) if len(known) == len(notes) else ""
    return {"labels": labels, "split": split, "group": "/".join(folders)}


def normalize_note(name: str, *, octave: bool = True) -> str | None:
    """The one name of a note, with its octave if it is named and wanted; None if `name` is no note.

    >>> normalize_note("Bb3"), normalize_note("Cb4"), normalize_note("Bb3", octave=False), normalize_note("H3")
    ('A#3', 'B3', 'A#', None)
    """
    parts = NOTE.fullmatch(name)
    if not parts:
        return None
    semitones = PITCH_CLASSES.index(parts[1].upper()) + ACCIDENTALS[parts[2]]
    above, pitch_class = divmod(semitones, 12)  # Cb4 is below C4, in octave 3
    return PITCH_CLASSES[pitch_class] + (str(int(parts[3]) + above) if octave and parts[3] else "")


def note_name(key: int) -> str:
    """The note of a MIDI key: 57 is A3, 60 is C4."""
    return f"{PITCH_CLASSES[key % 12]}{key // 12 - 1}"


def note_sort_key(note: str) -> tuple[int, int]:
    """The octave and the pitch of a note from `normalize_note`; pitch classes come first."""
    name = note.rstrip("-0123456789")
    return int(note[len(name) :] or -99), PITCH_CLASSES.index(name)
