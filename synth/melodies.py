"""What the demo's instruments play: seeded phrases within each instrument's range, as notes in seconds."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "blues": (0, 3, 5, 6, 7, 10),
}
NOTE_BEATS = np.array([0.25, 0.5, 1.0, 1.5, 2.0, 3.0])
NOTE_PROBABILITIES = np.array([0.15, 0.35, 0.27, 0.1, 0.1, 0.03])
NOTE_S = (0.09, 2.0)
LONGEST_REST_S = 0.7
"""With NOTE_S, a note begins in any 3 s, so no excerpt is silent."""
STEPS = np.array([-5, -3, -2, -1, 0, 1, 2, 3, 5])
STEP_PROBABILITIES = np.array([0.03, 0.06, 0.14, 0.24, 0.06, 0.24, 0.14, 0.06, 0.03])


@dataclass(frozen=True)
class Patch:
    """A General MIDI program, and the lowest and highest key to play."""

    program: int
    low: int
    high: int


@dataclass(frozen=True)
class Instrument:
    """One of the eleven instruments of IRMAS."""

    code: str
    patches: Sequence[Patch]
    chord_probability: float = 0.0
    strum_s: float = 0.0
    """Longest time from a chord's first note to its last."""
    vibrato_semitones: float = 0.0


INSTRUMENTS = (
    Instrument("cel", [Patch(42, 36, 74)], chord_probability=0.05, vibrato_semitones=0.35),
    Instrument("cla", [Patch(71, 50, 89)], vibrato_semitones=0.08),
    Instrument("flu", [Patch(73, 60, 94)], vibrato_semitones=0.25),
    Instrument("gac", [Patch(24, 40, 79), Patch(25, 40, 81)], chord_probability=0.6, strum_s=0.12),
    Instrument("gel", [Patch(program, 40, 84) for program in (26, 27, 29, 30)], chord_probability=0.4, strum_s=0.06),
    Instrument("org", [Patch(program, 36, 91) for program in (16, 17, 18, 19)], chord_probability=0.7),
    Instrument("pia", [Patch(program, 31, 98) for program in (0, 1, 2, 3)], chord_probability=0.55, strum_s=0.02),
    Instrument(
        "sax", [Patch(64, 56, 86), Patch(65, 49, 81), Patch(66, 44, 76), Patch(67, 37, 69)], vibrato_semitones=0.25
    ),
    Instrument("tru", [Patch(56, 54, 82), Patch(59, 54, 82)], vibrato_semitones=0.15),
    Instrument("vio", [Patch(40, 55, 95), Patch(110, 55, 88)], chord_probability=0.1, vibrato_semitones=0.4),
    Instrument("voi", [Patch(52, 45, 79), Patch(53, 45, 79)], chord_probability=0.35, vibrato_semitones=0.4),
)


@dataclass(frozen=True)
class Note:
    """One key, pressed for a time, with a MIDI velocity."""

    start_s: float
    end_s: float
    key: int
    velocity: int


@dataclass(frozen=True)
class Piece:
    """The tempo and the key that performers of one piece share."""

    beat_s: float
    tonic: int
    scale: tuple[int, ...]


def draw_piece(generator: Generator) -> Piece:
    """A tempo of 55 to 170 beats a minute, a key and a scale."""
    scale = SCALES[str(generator.choice(list(SCALES)))]
    return Piece(60 / generator.uniform(55, 170), int(generator.integers(12)), scale)


def compose_notes(
    instrument: Instrument, patch: Patch, piece: Piece, length_s: float, generator: Generator
) -> list[Note]:
    """Notes of one performer for `length_s`: a random walk over the scale with rests, accents and some chords."""
    keys = [key for key in range(patch.low, patch.high + 1) if (key - piece.tonic) % 12 in piece.scale]
    position = len(keys) // 4 + int(generator.integers(len(keys) // 2))
    loudness = generator.uniform(45, 110)
    legato = generator.uniform(0.5, 1.1)
    chords = generator.random() < instrument.chord_probability
    notes: list[Note] = []
    time_s = generator.uniform(0, piece.beat_s)
    while time_s < length_s:
        beats = float(generator.choice(NOTE_BEATS, p=NOTE_PROBABILITIES)) * (1.5 if chords else 1)
        lasts_s = min(max(beats * piece.beat_s, NOTE_S[0]), NOTE_S[1])
        if lasts_s > LONGEST_REST_S or generator.random() > 0.1:
            n_notes = int(generator.integers(2, 5)) if chords and generator.random() < 0.8 else 1
            velocity = int(np.clip(loudness + generator.normal(0, 9), 20, 127))
            chord = [keys[position + 2 * third] for third in range(n_notes) if position + 2 * third < len(keys)]
            starts_s = time_s + np.sort(generator.uniform(0, instrument.strum_s, len(chord)))
            for start_s, key in zip(starts_s.tolist(), chord, strict=True):
                notes.append(Note(start_s, start_s + lasts_s * legato, key, velocity))
        time_s += lasts_s * generator.normal(1, 0.02)
        position = int(np.clip(position + generator.choice(STEPS, p=STEP_PROBABILITIES), 0, len(keys) - 1))
    return notes
