"""Sets of single notes and chords to render: which instruments play which keys, and who is kept for the test."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from preprocess.dataset.note_names import note_of
from synth.melodies import Voice

NATURALS = (0, 2, 4, 5, 7, 9, 11)
OCTAVE_3 = 48
"""The key of C3."""
MOST_NOTES, SPAN = 4, 24
"""Of a chord: notes of different pitch classes, at most so many keys apart."""

TRAIN = {
    "piano": Voice(0, 36, 96),
    "electric_piano": Voice(4, 36, 84),
    "harpsichord": Voice(6, 36, 84),
    "vibraphone": Voice(11, 53, 89),
    "marimba": Voice(12, 45, 89),
    "organ": Voice(16, 36, 84),
    "harmonica": Voice(22, 48, 84),
    "jazz_guitar": Voice(26, 40, 84),
    "clean_guitar": Voice(27, 40, 84),
    "violin": Voice(40, 55, 91),
    "pizzicato": Voice(45, 43, 84),
    "harp": Voice(46, 36, 91),
    "strings": Voice(48, 36, 84),
    "choir": Voice(52, 45, 79),
    "trombone": Voice(57, 40, 72),
    "soprano_sax": Voice(64, 54, 86),
    "english_horn": Voice(69, 52, 81),
    "bassoon": Voice(70, 36, 72),
    "clarinet": Voice(71, 50, 86),
    "recorder": Voice(74, 60, 91),
    "pan_flute": Voice(75, 60, 91),
    "synthesizer": Voice(81, 36, 84),
    "banjo": Voice(105, 48, 86),
    "koto": Voice(107, 43, 84),
}
TEST = {
    "fm_piano": Voice(5, 36, 84),
    "accordion": Voice(21, 48, 72),
    "nylon_guitar": Voice(24, 40, 79),
    "cello": Voice(42, 36, 74),
    "trumpet": Voice(56, 54, 82),
    "tenor_sax": Voice(66, 44, 76),
    "oboe": Voice(68, 58, 88),
    "flute": Voice(73, 60, 91),
}
"""Chosen before anything was trained. No sample of the soundfont sounds in two instruments of either table; the
accordion is out of tune above key 72."""


@dataclass(frozen=True)
class Take:
    """One recording: the file, relative to its set, who plays, and the keys pressed at once."""

    file: Path
    voice: Voice
    keys: tuple[int, ...]
    seed: tuple[int, ...]


def _naturals(voice: Voice, takes: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """The seven naturals of octave 3, whatever the instrument's range."""
    for _ in range(takes):
        yield from ((OCTAVE_3 + natural,) for natural in NATURALS)


def _twelve(voice: Voice, takes: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Each pitch class, in any octave of the instrument's range."""
    for _ in range(takes):
        for pitch_class in range(12):
            keys = [key for key in range(voice.low, voice.high + 1) if key % 12 == pitch_class]
            yield (int(generator.choice(keys)),)


def _chords(voice: Voice, takes: int, generator: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """One to four notes of different pitch classes, in any place of the instrument's range."""
    for _ in range(takes):
        lowest = int(generator.integers(voice.low, voice.high - SPAN // 2))
        keys = generator.permutation(np.arange(lowest, min(lowest + SPAN, voice.high) + 1))
        _, first = np.unique(keys % 12, return_index=True)
        keys = keys[np.sort(first)][: int(generator.integers(1, MOST_NOTES + 1))]
        yield tuple(sorted(keys.tolist()))


SETS: dict[str, tuple[int, Callable[[Voice, int, np.random.Generator], Iterator[tuple[int, ...]]]]] = {
    "naturals": (4, _naturals),
    "twelve": (5, _twelve),
    "chords": (72, _chords),
}
"""How often each instrument plays all notes of a set (of chords: how many), and which they are."""


def plan_set(name: str, seed: int, takes: int) -> list[Take]:
    """Every take of a set: train/ and test/, a folder an instrument, files named by their notes and numbered."""
    planned = []
    for half, (split, voices) in enumerate((("train", TRAIN), ("test", TEST))):
        for index, (instrument, voice) in enumerate(voices.items()):
            place = (seed, list(SETS).index(name), half, index)
            times: dict[str, int] = {}
            for number, keys in enumerate(SETS[name][1](voice, takes, np.random.default_rng(place))):
                notes = "+".join(map(note_of, keys))
                times[notes] = times.get(notes, 0) + 1
                file = Path(split, instrument, f"{notes}_{times[notes]}.wav")
                planned.append(Take(file, voice, keys, (*place, number)))
    return planned
