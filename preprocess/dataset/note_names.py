"""Notes by their names in scientific pitch notation (A3, C#4, Bb2), or without an octave as pitch classes."""

import re

PITCH_CLASSES = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
"""Pitch classes from C upwards, by sharps: a label each, so that A# and Bb are one."""

_NATURALS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "s": 1, "b": -1, "♭": -1}
_NAME = re.compile(r"([A-Ga-g])([#♯sb♭]?)(-?\d{1,2})?")


def normalize_note(name: str, *, octave: bool = True) -> str | None:
    """The one name of a note, with its octave if it is named and wanted; None where `name` is no note.

    >>> normalize_note("Bb3"), normalize_note("Cb4"), normalize_note("Bb3", octave=False), normalize_note("H3")
    ('A#3', 'B3', 'A#', None)
    """
    parts = _NAME.fullmatch(name)
    if not parts:
        return None
    semitones = _NATURALS[parts[1].upper()] + _ACCIDENTALS[parts[2]]
    above, pitch_class = divmod(semitones, 12)  # Cb4 is below C4, in octave 3
    return PITCH_CLASSES[pitch_class] + (str(int(parts[3]) + above) if octave and parts[3] else "")


def note_name(key: int) -> str:
    """The note of a MIDI key: 57 is A3, 60 is C4."""
    return f"{PITCH_CLASSES[key % 12]}{key // 12 - 1}"


def note_sort_key(note: str) -> tuple[int, int]:
    """Where a note of `normalize_note` stands among others: by octave, then by pitch; pitch classes before all."""
    name = note.rstrip("-0123456789")
    return int(note[len(name) :] or -99), PITCH_CLASSES.index(name)
