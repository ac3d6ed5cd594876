"""SCRIPT: render the demo's instrument set, in the layout of IRMAS, from notes and a General MIDI soundfont."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from core.entrypoint import run_script
from core.errors import BadInput
from core.files import written_whole
from recipe.cli import OptionParser, count_jobs
from synth.melodies import INSTRUMENTS, Instrument, draw_piece, write_part
from synth.rendering import claim_folder, render_takes, write_sound, writing_to
from synth.synthesizer import RATE_HZ, draw_player, draw_venue, find_soundfont, play, record

EXCERPT_S = 3.0
LEAD_S = 2.0
"""Rendered before an excerpt and cut off, so that it begins in the middle of the music."""
TEST_S = (5.0, 20.0)
ENSEMBLE_ODDS = (0.2, 0.3, 0.25, 0.15, 0.1)
"""Of one to five instruments in a test clip."""


@dataclass(frozen=True)
class Plan:
    """What a set is rendered from; two sets of one plan are equal to the bit."""

    seed: int = 0
    train_clips: int = 40
    """Of each instrument."""
    test_clips: int = 60
    version: int = 1
    """Raised when the sound of a plan changes."""


@dataclass(frozen=True)
class Take:
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


def plan_takes(plan: Plan) -> list[Take]:
    """Every take of a set: tracks of 1 to 3 training excerpts, pieces of 1 to 4 test clips."""
    takes = [take for index in range(len(INSTRUMENTS)) for take in _tracks(plan, index)]
    generator = np.random.default_rng([plan.seed, 1])
    turns = np.zeros(len(INSTRUMENTS))
    done = 0
    while done < plan.test_clips:
        n_clips = min(int(generator.integers(1, 5)), plan.test_clips - done)
        n_players = 1 + int(generator.choice(len(ENSEMBLE_ODDS), p=ENSEMBLE_ODDS))
        # Whoever has played least comes next, with chance enough that the ensembles differ.
        chosen = np.sort(np.argsort(turns + generator.uniform(0, 8, len(turns)))[:n_players])
        turns[chosen] += n_clips
        piece = sum(take.is_test for take in takes)
        name = f"IRMAS-TestingData-Part1/Part1/{piece:02d} - piece"
        files = tuple(Path(f"{name}-{clip + 1}.flac") for clip in range(n_clips))
        takes.append(Take(files, tuple(INSTRUMENTS[index] for index in chosen), (plan.seed, 2, piece), True))
        done += n_clips
    return takes


def _tracks(plan: Plan, index: int) -> Iterator[Take]:
    """The training tracks of one instrument."""
    instrument, generator = INSTRUMENTS[index], np.random.default_rng([plan.seed, 0, index])
    left, track = plan.train_clips, 0
    while left > 0:
        n_excerpts = min(int(generator.integers(1, 4)), left)
        name = f"IRMAS-TrainingData/{instrument.code}/[{instrument.code}]{track:04d}"
        files = tuple(Path(f"{name}__{excerpt + 1}.flac") for excerpt in range(n_excerpts))
        yield Take(files, (instrument,), (plan.seed, 3, index, track), False)
        left, track = left - n_excerpts, track + 1


def render_take(take: Take, folder: Path) -> None:
    """Play a take and write each of its files that is not there yet, whole."""
    generator = np.random.default_rng(take.seed)
    piece, venue = draw_piece(generator), draw_venue(generator)
    voices = [instrument.voices[generator.integers(len(instrument.voices))] for instrument in take.instruments]
    players = [
        draw_player(voice.program, instrument.vibrato_semitones, generator)
        for voice, instrument in zip(voices, take.instruments, strict=True)
    ]
    lengths_s = generator.uniform(*TEST_S, len(take.files)) if take.is_test else [EXCERPT_S] * len(take.files)
    for file, length_s in zip(take.files, lengths_s, strict=True):
        whole_s = LEAD_S + float(length_s)
        parts = [
            play(player, write_part(instrument, voice, piece, whole_s, generator), whole_s)
            for player, instrument, voice in zip(players, take.instruments, voices, strict=True)
        ]
        sound = record(venue, [part[round(LEAD_S * RATE_HZ) :] for part in parts], generator)
        if take.is_test:
            _write_labels(folder / file.with_suffix(".txt"), take.instruments)
        write_sound(folder / file, sound)


def _write_labels(path: Path, instruments: Sequence[Instrument]) -> None:
    with written_whole(path) as temporary:
        temporary.write_text("".join(f"{instrument.code}\t\n" for instrument in instruments), encoding="utf-8")


def render(folder: Path, plan: Plan, jobs: int) -> int:
    """Render what is missing of a set, and return the number of takes that were."""
    claim_folder(folder, asdict(plan))
    takes = [take for take in plan_takes(plan) if take.missing(folder)]
    render_takes(render_take, takes, folder, jobs)
    return len(takes)


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = OptionParser(description="Render the demo's instrument set.")
    parser.add_argument("--folder", type=Path, default=Path("cache/demo_audio"), help="Where the set goes.")
    parser.add_argument("--seed", type=int, default=Plan.seed, help="Another seed, another set.")
    parser.add_argument("--train-clips", type=int, default=Plan.train_clips, help="Clips of each instrument.")
    parser.add_argument("--test-clips", type=int, default=Plan.test_clips, help="Clips of 1 to 5 instruments.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    options = parser.parse_args(arguments)
    for name, low in (("seed", 0), ("train_clips", 1), ("test_clips", 0)):
        if getattr(options, name) < low:
            raise BadInput(f"--{name.replace('_', '-')} {getattr(options, name)}: must be at least {low}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the set, or say that it is there."""
    options = _options(arguments)
    plan = Plan(options.seed, options.train_clips, options.test_clips)
    find_soundfont()
    with writing_to(options.folder):
        n_takes = render(options.folder, plan, count_jobs(options.jobs))
    n_train = plan.train_clips * len(INSTRUMENTS)
    state = f"rendered {n_takes} takes of" if n_takes else "already there,"
    print(f"demo sound: {state} {n_train} training and {plan.test_clips} test clips, in {options.folder}")


if __name__ == "__main__":
    run_script(main)
