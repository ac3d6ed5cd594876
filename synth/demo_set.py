"""The demo's instrument set: its recording sessions, in the layout of IRMAS, and how one is rendered."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from core.files import atomic_write
from synth.melodies import INSTRUMENTS, Instrument, compose_notes, draw_piece
from synth.rendering import write_sound
from synth.synthesizer import SAMPLE_RATE_HZ, draw_conditions, draw_performer, mix_recording, synthesize

EXCERPT_S = 3.0
LEAD_S = 2.0
"""Rendered before an excerpt and cut off, so that it begins in the middle of the music."""
TEST_S = (5.0, 20.0)
MAX_EXCERPTS, MAX_TEST_CLIPS = 3, 4
"""Of one track, and of one test piece."""
N_INSTRUMENTS_PROBABILITIES = (0.2, 0.3, 0.25, 0.15, 0.1)
"""Of one to five instruments in a test clip."""
VERSION = 1
"""Raised when the sound of a set changes."""


@dataclass(frozen=True)
class Session:
    """One recording session: the files cut from it and the instruments in it."""

    files: tuple[Path, ...]
    instruments: tuple[Instrument, ...]
    seed: tuple[int, ...]
    is_test: bool

    def is_missing(self, folder: Path) -> bool:
        """Whether any of its files does not exist."""
        names = [*self.files, *(file.with_suffix(".txt") for file in self.files if self.is_test)]
        return not all((folder / name).exists() for name in names)


def plan_sessions(seed: int, train_clips: int, test_clips: int) -> list[Session]:
    """Every session of a set: tracks of training excerpts, `train_clips` an instrument, and pieces of test clips."""
    tracks = [session for index in range(len(INSTRUMENTS)) for session in _plan_tracks(seed, train_clips, index)]
    return [*tracks, *_plan_test_pieces(seed, test_clips)]


def _plan_tracks(seed: int, n_clips: int, index: int) -> Iterator[Session]:
    """The training tracks of one instrument."""
    instrument, generator = INSTRUMENTS[index], np.random.default_rng([seed, 0, index])
    for track, n_excerpts in enumerate(_draw_sizes(n_clips, MAX_EXCERPTS, generator)):
        name = f"IRMAS-TrainingData/{instrument.code}/[{instrument.code}]{track:04d}"
        files = tuple(Path(f"{name}__{excerpt + 1}.flac") for excerpt in range(n_excerpts))
        yield Session(files, (instrument,), (seed, 3, index, track), False)


def _plan_test_pieces(seed: int, test_clips: int) -> Iterator[Session]:
    generator = np.random.default_rng([seed, 1])
    n_played = np.zeros(len(INSTRUMENTS))
    for piece, n_clips in enumerate(_draw_sizes(test_clips, MAX_TEST_CLIPS, generator)):
        n_performers = 1 + int(generator.choice(len(N_INSTRUMENTS_PROBABILITIES), p=N_INSTRUMENTS_PROBABILITIES))
        # Instruments with the fewest clips come next, with enough randomness for different ensembles.
        chosen = np.sort(np.argsort(n_played + generator.uniform(0, 8, len(n_played)))[:n_performers])
        n_played[chosen] += n_clips
        name = f"IRMAS-TestingData-Part1/Part1/{piece:02d} - piece"
        files = tuple(Path(f"{name}-{clip + 1}.flac") for clip in range(n_clips))
        yield Session(files, tuple(INSTRUMENTS[index] for index in chosen), (seed, 2, piece), True)


def _draw_sizes(total: int, largest: int, generator: np.random.Generator) -> Iterator[int]:
    """Random sizes from 1 to `largest` that add up to `total`."""
    while total > 0:
        size = min(int(generator.integers(1, largest + 1)), total)
        yield size
        total -= size


def render_session(session: Session, folder: Path) -> None:
    """Render a session and write its files."""
    generator = np.random.default_rng(session.seed)
    piece, conditions = draw_piece(generator), draw_conditions(generator)
    chosen = [(one, one.patches[int(generator.integers(len(one.patches)))]) for one in session.instruments]
    performers = [draw_performer(patch.program, one.vibrato_semitones, generator) for one, patch in chosen]
    lengths_s = generator.uniform(*TEST_S, len(session.files)) if session.is_test else [EXCERPT_S] * len(session.files)
    for file, length_s in zip(session.files, lengths_s, strict=True):
        whole_s = LEAD_S + float(length_s)
        parts = [
            synthesize(performer, compose_notes(instrument, patch, piece, whole_s, generator), whole_s)
            for performer, (instrument, patch) in zip(performers, chosen, strict=True)
        ]
        sound = mix_recording(conditions, [part[round(LEAD_S * SAMPLE_RATE_HZ) :] for part in parts], generator)
        if session.is_test:
            with atomic_write(folder / file.with_suffix(".txt")) as temporary:
                temporary.write_text("".join(f"{one.code}\t\n" for one in session.instruments), encoding="utf-8")
        write_sound(folder / file, sound)
