"""SCRIPT: render the demo's instrument set, in the layout of IRMAS, from notes and a General MIDI soundfont."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core.entrypoint import run_script
from core.errors import UserError
from core.files import atomic_write
from recipe.cli import OptionParser, resolve_n_jobs
from synth.melodies import INSTRUMENTS, Instrument, compose_notes, draw_piece
from synth.rendering import claim_folder, name_write_errors, render_items, write_sound
from synth.synthesizer import SAMPLE_RATE_HZ, draw_conditions, draw_performer, find_soundfont, mix_recording, synthesize

EXCERPT_S = 3.0
LEAD_S = 2.0
"""Rendered before an excerpt and cut off, so that it begins in the middle of the music."""
TEST_S = (5.0, 20.0)
N_INSTRUMENTS_PROBABILITIES = (0.2, 0.3, 0.25, 0.15, 0.1)
"""Of one to five instruments in a test clip."""


@dataclass(frozen=True)
class DemoSpec:
    """What a set is rendered from; two sets of one spec are equal to the bit."""

    seed: int = 0
    train_clips: int = 40
    """Of each instrument."""
    test_clips: int = 60
    version: int = 1
    """Raised when the sound of a set changes."""


@dataclass(frozen=True)
class Session:
    """One recording session: the files cut from it and who plays in it."""

    files: tuple[Path, ...]
    instruments: tuple[Instrument, ...]
    seed: tuple[int, ...]
    is_test: bool

    def missing(self, folder: Path) -> bool:
        """Whether any of its files is not there."""
        return not all((folder / name).exists() for file in self.files for name in self._names(file))

    def _names(self, file: Path) -> list[Path]:
        return [file, file.with_suffix(".txt")] if self.is_test else [file]


def plan_sessions(spec: DemoSpec) -> list[Session]:
    """Every session of a set: tracks of 1 to 3 training excerpts, pieces of 1 to 4 test clips."""
    sessions = [session for index in range(len(INSTRUMENTS)) for session in _tracks(spec, index)]
    generator = np.random.default_rng([spec.seed, 1])
    n_played = np.zeros(len(INSTRUMENTS))
    done = 0
    while done < spec.test_clips:
        n_clips = min(int(generator.integers(1, 5)), spec.test_clips - done)
        n_performers = 1 + int(generator.choice(len(N_INSTRUMENTS_PROBABILITIES), p=N_INSTRUMENTS_PROBABILITIES))
        # Whoever has played least comes next, with chance enough that the ensembles differ.
        chosen = np.sort(np.argsort(n_played + generator.uniform(0, 8, len(n_played)))[:n_performers])
        n_played[chosen] += n_clips
        piece = sum(session.is_test for session in sessions)
        name = f"IRMAS-TestingData-Part1/Part1/{piece:02d} - piece"
        files = tuple(Path(f"{name}-{clip + 1}.flac") for clip in range(n_clips))
        sessions.append(Session(files, tuple(INSTRUMENTS[index] for index in chosen), (spec.seed, 2, piece), True))
        done += n_clips
    return sessions


def _tracks(spec: DemoSpec, index: int) -> Iterator[Session]:
    """The training tracks of one instrument."""
    instrument, generator = INSTRUMENTS[index], np.random.default_rng([spec.seed, 0, index])
    left, track = spec.train_clips, 0
    while left > 0:
        n_excerpts = min(int(generator.integers(1, 4)), left)
        name = f"IRMAS-TrainingData/{instrument.code}/[{instrument.code}]{track:04d}"
        files = tuple(Path(f"{name}__{excerpt + 1}.flac") for excerpt in range(n_excerpts))
        yield Session(files, (instrument,), (spec.seed, 3, index, track), False)
        left, track = left - n_excerpts, track + 1


def render_session(session: Session, folder: Path) -> None:
    """Render a session and write each of its files that is not there yet, whole."""
    generator = np.random.default_rng(session.seed)
    piece, conditions = draw_piece(generator), draw_conditions(generator)
    midi_programs = [
        instrument.midi_programs[generator.integers(len(instrument.midi_programs))]
        for instrument in session.instruments
    ]
    performers = [
        draw_performer(midi_program.program, instrument.vibrato_semitones, generator)
        for midi_program, instrument in zip(midi_programs, session.instruments, strict=True)
    ]
    lengths_s = generator.uniform(*TEST_S, len(session.files)) if session.is_test else [EXCERPT_S] * len(session.files)
    for file, length_s in zip(session.files, lengths_s, strict=True):
        whole_s = LEAD_S + float(length_s)
        parts = [
            synthesize(performer, compose_notes(instrument, midi_program, piece, whole_s, generator), whole_s)
            for performer, instrument, midi_program in zip(performers, session.instruments, midi_programs, strict=True)
        ]
        sound = mix_recording(conditions, [part[round(LEAD_S * SAMPLE_RATE_HZ) :] for part in parts], generator)
        if session.is_test:
            _write_labels(folder / file.with_suffix(".txt"), session.instruments)
        write_sound(folder / file, sound)


def _write_labels(path: Path, instruments: Sequence[Instrument]) -> None:
    with atomic_write(path) as temporary:
        temporary.write_text("".join(f"{instrument.code}\t\n" for instrument in instruments), encoding="utf-8")


def render(folder: Path, spec: DemoSpec, jobs: int) -> int:
    """Render what is missing of a set, and return the number of sessions that were."""
    claim_folder(folder, asdict(spec))
    sessions = [session for session in plan_sessions(spec) if session.missing(folder)]
    render_items(render_session, sessions, folder, jobs)
    return len(sessions)


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = OptionParser(description="Render the demo's instrument set.")
    parser.add_argument("--folder", type=Path, default=Path("cache/demo_audio"), help="Where the set goes.")
    parser.add_argument("--seed", type=int, default=DemoSpec.seed, help="Another seed, another set.")
    parser.add_argument("--train-clips", type=int, default=DemoSpec.train_clips, help="Clips of each instrument.")
    parser.add_argument("--test-clips", type=int, default=DemoSpec.test_clips, help="Clips of 1 to 5 instruments.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    options = parser.parse_args(arguments)
    for name, low in (("seed", 0), ("train_clips", 1), ("test_clips", 0)):
        if getattr(options, name) < low:
            raise UserError(f"--{name.replace('_', '-')} {getattr(options, name)}: must be at least {low}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the set, or say that it is there."""
    options = _options(arguments)
    spec = DemoSpec(options.seed, options.train_clips, options.test_clips)
    find_soundfont()
    with name_write_errors(options.folder):
        n_sessions = render(options.folder, spec, resolve_n_jobs(options.jobs))
    n_train = spec.train_clips * len(INSTRUMENTS)
    state = f"rendered {n_sessions} sessions of" if n_sessions else "already there,"
    print(f"demo sound: {state} {n_train} training and {spec.test_clips} test clips, in {options.folder}")


if __name__ == "__main__":
    run_script(main)
