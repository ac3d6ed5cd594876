"""SCRIPT make notes: notes and chords from MIDI keys and a General MIDI soundfont, each file named by what sounds."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.entrypoint import run_script
from core.errors import BadInput
from recipe.cli import OptionParser, count_jobs
from synth.melodies import Note
from synth.note_sets import SETS, Take, plan_set
from synth.rendering import claim_folder, render_takes, write_sound, writing_to
from synth.synthesizer import draw_player, draw_venue, find_soundfont, play, record

LENGTH_S = 1.0
START_S = (0.0, 0.1)
TOGETHER_S = 0.03
"""Within which the notes of a chord begin."""
HELD_S = (0.6, 1.0)
VELOCITY = (60, 110)
VIBRATO_SEMITONES = 0.25
VERSION = 1
"""Raised when the sound of a plan changes."""


def render_take(take: Take, folder: Path) -> None:
    """Play a take in a room of its own, by a player slightly out of tune, and write it."""
    generator = np.random.default_rng(take.seed)
    venue, player = draw_venue(generator), draw_player(take.voice.program, VIBRATO_SEMITONES, generator)
    start_s, held_s = generator.uniform(*START_S), generator.uniform(*HELD_S)
    notes = [
        Note(begin, begin + held_s, key, int(generator.integers(VELOCITY[0], VELOCITY[1] + 1)))
        for key, begin in zip(take.keys, start_s + generator.uniform(0, TOGETHER_S, len(take.keys)), strict=True)
    ]
    write_sound(folder / take.file, record(venue, [play(player, notes, LENGTH_S)], generator))


def render_set(folder: Path, name: str, seed: int, takes: int, jobs: int) -> None:
    """Render what is missing of a set into its folder, and say what is there."""
    planned = plan_set(name, seed, takes)
    claim_folder(folder, {"set": name, "seed": seed, "takes": takes, "version": VERSION})
    missing = [take for take in planned if not (folder / take.file).exists()]
    render_takes(render_take, missing, folder, jobs)
    n_test = sum(take.file.parts[0] == "test" for take in planned)
    state = f"rendered {len(missing)} of" if missing else "already there,"
    print(f"{name}: {state} {len(planned) - n_test} training and {n_test} test clips, in {folder}")


def _options(arguments: Sequence[str] | None) -> Namespace:
    parser = OptionParser(description="Render sets of notes, a folder each.")
    parser.add_argument("--folder", type=Path, default=Path("cache/notes"), help="Where the sets' folders go.")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="Which; by default all.")
    parser.add_argument("--takes", type=int, help="How often an instrument plays all notes; of chords, how many.")
    parser.add_argument("--seed", type=int, default=0, help="Another seed, other sets.")
    parser.add_argument("--jobs", type=int, default=-1, help="Processes; -1 is one a core.")
    options = parser.parse_args(arguments)
    for name, low in (("seed", 0), ("takes", 1)):
        if getattr(options, name) is not None and getattr(options, name) < low:
            raise BadInput(f"--{name} {getattr(options, name)}: must be at least {low}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the sets, or say that they are there."""
    options = _options(arguments)
    find_soundfont()
    with writing_to(options.folder):
        for name in options.sets:
            takes = options.takes or SETS[name][0]
            render_set(options.folder / name, name, options.seed, takes, count_jobs(options.jobs))


if __name__ == "__main__":
    run_script(main)
