"""Sets of single notes and chords to render: which instruments play which keys, and who is kept for the test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.dataset.note_names import note_name
from synth.melodies import MidiProgram

NATURALS = (0, 2, 4, 5, 7, 9, 11)
OCTAVE_3 = 48
"""The key of C3."""
MAX_CHORD_NOTES, MAX_CHORD_SPAN = 4, 24
"""Of a chord: notes of different pitch classes, at most so many keys apart."""

TRAIN = {
    "piano": MidiProgram(0, 36, 96),
    "electric_piano": MidiProgram(4, 36, 84),
    "harpsichord": MidiProgram(6, 36, 84),
    "vibraphone": MidiProgram(11, 53, 89),
    "marimba": MidiProgram(12, 45, 89),
    "organ": MidiProgram(16, 36, 84),
    "harmonica": MidiProgram(22, 48, 84),
    "jazz_guitar": MidiProgram(26, 40, 84),
    "clean_guitar": MidiProgram(27, 40, 84),
    "violin": MidiProgram(40, 55, 91),
    "pizzicato": MidiProgram(45, 43, 84),
    "harp": MidiProgram(46, 36, 91),
    "strings": MidiProgram(48, 36, 84),
    "choir": MidiProgram(52, 45, 79),
    "trombone": MidiProgram(57, 40, 72),
    "soprano_sax": MidiProgram(64, 54, 86),
    "english_horn": MidiProgram(69, 52, 81),
    "bassoon": MidiProgram(70, 36, 72),
    "clarinet": MidiProgram(71, 50, 86),
    "recorder": MidiProgram(74, 60, 91),
    "pan_flute": MidiProgram(75, 60, 91),
    "synthesizer": MidiProgram(81, 36, 84),
    "banjo": MidiProgram(105, 48, 86),
    "koto": MidiProgram(107, 43, 84),
}
TEST = {
    "fm_piano": MidiProgram(5, 36, 84),
    "accordion": MidiProgram(21, 48, 72),
    "nylon_guitar": MidiProgram(24, 40, 79),
    "cello": MidiProgram(42, 36, 74),
    "trumpet": MidiProgram(56, 54, 82),
    "tenor_sax": MidiProgram(66, 44, 76),
    "oboe": MidiProgram(68, 58, 88),
    "flute": MidiProgram(73, 60, 91),
}
"""Chosen before anything was trained. No sample of the soundfont sounds in two instruments of either table; the
accordion is out of tune above key 72."""


@dataclass(frozen=True)
class NoteClip:
    """One recording: the file, relative to its set, the program, and the keys pressed at once."""

    file: Path
    midi_program: MidiProgram
    keys: tuple[int, ...]
    seed: tuple[int, ...]


def _naturals(midi_program: MidiProgram, repetitions: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """The seven naturals of octave 3, whatever the instrument's range."""
    for _ in range(repetitions):
        yield from ((OCTAVE_3 + natural,) for natural in NATURALS)


def _chromatic(
    midi_program: MidiProgram, repetitions: int, generator: np.random.Generator
) -> Iterator[tuple[int, ...]]:
    """Each pitch class, in any octave of the instrument's range."""
    for _ in range(repetitions):
        for pitch_class in range(12):
            keys = [key for key in range(midi_program.low, midi_program.high + 1) if key % 12 == pitch_class]
            yield (int(generator.choice(keys)),)


def _chords(midi_program: MidiProgram, repetitions: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """One to four notes of different pitch classes, in any place of the instrument's range."""
    for _ in range(repetitions):
        lowest = int(generator.integers(midi_program.low, midi_program.high - MAX_CHORD_SPAN // 2))
        keys = generator.permutation(np.arange(lowest, min(lowest + MAX_CHORD_SPAN, midi_program.high) + 1))
        _, first = np.unique(keys % 12, return_index=True)
        keys = keys[np.sort(first)][: int(generator.integers(1, MAX_CHORD_NOTES + 1))]
        yield tuple(sorted(keys.tolist()))


SETS: dict[str, tuple[int, Callable[[MidiProgram, int, np.random.Generator], Iterator[tuple[int, ...]]]]] = {
    "naturals": (4, _naturals),
    "twelve": (5, _chromatic),
    "chords": (72, _chords),
}
"""How often each instrument plays all notes of a set (of chords: how many), and which they are."""


def plan_note_clips(name: str, seed: int, repetitions: int) -> list[NoteClip]:
    """Every clip of a set: train/ and test/, a folder an instrument, files named by their notes and numbered."""
    note_clips = []
    for half, (split, midi_programs) in enumerate((("train", TRAIN), ("test", TEST))):
        for index, (instrument, midi_program) in enumerate(midi_programs.items()):
            seed_prefix = (seed, list(SETS).index(name), half, index)
            times: dict[str, int] = {}
            for number, keys in enumerate(SETS[name][1](midi_program, repetitions, np.random.default_rng(seed_prefix))):
                notes = "+".join(map(note_name, keys))
                times[notes] = times.get(notes, 0) + 1
                file = Path(split, instrument, f"{notes}_{times[notes]}.wav")
                note_clips.append(NoteClip(file, midi_program, keys, (*seed_prefix, number)))
    return note_clips
