"""Sets of single notes and chords: the keys of each training and test instrument, and how a clip is rendered."""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from preprocess.dataset.layouts.notes import note_name
from synth.melodies import Note, Patch
from synth.rendering import write_sound
from synth.synthesizer import draw_conditions, draw_performer, mix_recording, synthesize

Keys = tuple[int, ...]
NATURALS = (0, 2, 4, 5, 7, 9, 11)
OCTAVE_3 = 48
"""The key of C3."""
MAX_CHORD_NOTES, MAX_CHORD_SPAN = 4, 24
"""Notes of a chord, of different pitch classes, and the keys between them."""
LENGTH_S = 1.0
START_S = (0.0, 0.1)
CHORD_SPREAD_S = 0.03
"""Longest time from a chord's first note to its last."""
NOTE_LENGTH_S = (0.6, 1.0)
VELOCITY = (60, 110)
VIBRATO_SEMITONES = 0.25
VERSION = 1
"""Raised when the sound of a clip changes."""

TRAIN = {
    "piano": Patch(0, 36, 96),
    "electric_piano": Patch(4, 36, 84),
    "harpsichord": Patch(6, 36, 84),
    "vibraphone": Patch(11, 53, 89),
    "marimba": Patch(12, 45, 89),
    "organ": Patch(16, 36, 84),
    "harmonica": Patch(22, 48, 84),
    "jazz_guitar": Patch(26, 40, 84),
    "clean_guitar": Patch(27, 40, 84),
    "violin": Patch(40, 55, 91),
    "pizzicato": Patch(45, 43, 84),
    "harp": Patch(46, 36, 91),
    "strings": Patch(48, 36, 84),
    "choir": Patch(52, 45, 79),
    "trombone": Patch(57, 40, 72),
    "soprano_sax": Patch(64, 54, 86),
    "english_horn": Patch(69, 52, 81),
    "bassoon": Patch(70, 36, 72),
    "clarinet": Patch(71, 50, 86),
    "recorder": Patch(74, 60, 91),
    "pan_flute": Patch(75, 60, 91),
    "synthesizer": Patch(81, 36, 84),
    "banjo": Patch(105, 48, 86),
    "koto": Patch(107, 43, 84),
}
TEST = {
    "fm_piano": Patch(5, 36, 84),
    "accordion": Patch(21, 48, 72),
    "nylon_guitar": Patch(24, 40, 79),
    "cello": Patch(42, 36, 74),
    "trumpet": Patch(56, 54, 82),
    "tenor_sax": Patch(66, 44, 76),
    "oboe": Patch(68, 58, 88),
    "flute": Patch(73, 60, 91),
}
"""No two instruments of the tables share a sample of the soundfont; the accordion is out of tune above key 72."""


@dataclass(frozen=True)
class NoteClip:
    """One recording: the file, relative to its set, the patch, and the keys pressed at once."""

    file: Path
    patch: Patch
    keys: Keys
    seed: tuple[int, ...]


def _draw_naturals(patch: Patch, generator: Generator) -> list[Keys]:
    """The seven naturals of octave 3, whatever the instrument's range."""
    return [(OCTAVE_3 + natural,) for natural in NATURALS]


def _draw_chromatic(patch: Patch, generator: Generator) -> list[Keys]:
    """Each pitch class, in a random octave of the instrument's range."""
    keys = np.arange(patch.low, patch.high + 1)
    return [(int(generator.choice(keys[keys % 12 == pitch_class])),) for pitch_class in range(12)]


def _draw_chord(patch: Patch, generator: Generator) -> list[Keys]:
    """One to four notes of different pitch classes, at a random place of the instrument's range."""
    lowest = int(generator.integers(patch.low, patch.high - MAX_CHORD_SPAN // 2))
    keys = generator.permutation(np.arange(lowest, min(lowest + MAX_CHORD_SPAN, patch.high) + 1))
    _, first = np.unique(keys % 12, return_index=True)
    keys = keys[np.sort(first)][: int(generator.integers(1, MAX_CHORD_NOTES + 1))]
    return [tuple(sorted(keys.tolist()))]


SETS: dict[str, tuple[int, Callable[[Patch, Generator], list[Keys]]]] = {
    "naturals": (4, _draw_naturals),
    "twelve": (5, _draw_chromatic),
    "chords": (72, _draw_chord),
}
"""How often an instrument plays all notes of a set (of chords: how many), and a function that draws them once."""


def plan_note_clips(name: str, seed: int, repetitions: int) -> list[NoteClip]:
    """Every clip of a set: train/ and test/, a folder an instrument, files named by their notes and numbered."""
    note_clips = []
    for half, (split, patches) in enumerate((("train", TRAIN), ("test", TEST))):
        for index, (instrument, patch) in enumerate(patches.items()):
            seed_prefix = (seed, list(SETS).index(name), half, index)
            generator = np.random.default_rng(seed_prefix)
            drawn = [keys for _ in range(repetitions) for keys in SETS[name][1](patch, generator)]
            times: Counter[str] = Counter()
            for number, keys in enumerate(drawn):
                notes = "+".join(map(note_name, keys))
                times[notes] += 1
                file = Path(split, instrument, f"{notes}_{times[notes]}.wav")
                note_clips.append(NoteClip(file, patch, keys, (*seed_prefix, number)))
    return note_clips


def render_note_clip(note_clip: NoteClip, folder: Path) -> None:
    """Synthesize a clip under conditions of its own, by a performer slightly out of tune, and write it."""
    generator = np.random.default_rng(note_clip.seed)
    conditions = draw_conditions(generator)
    performer = draw_performer(note_clip.patch.program, VIBRATO_SEMITONES, generator)
    start_s, note_length_s = generator.uniform(*START_S), generator.uniform(*NOTE_LENGTH_S)
    starts_s = start_s + generator.uniform(0, CHORD_SPREAD_S, len(note_clip.keys))
    notes = [
        Note(begin_s, begin_s + note_length_s, key, int(generator.integers(*VELOCITY, endpoint=True)))
        for key, begin_s in zip(note_clip.keys, starts_s, strict=True)
    ]
    write_sound(folder / note_clip.file, mix_recording(conditions, [synthesize(performer, notes, LENGTH_S)], generator))
