"""SCRIPT make notes: notes and chords from MIDI keys and a General MIDI soundfont, each file named by what sounds."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.entrypoint import run_script
from core.errors import UserError
from recipe.cli import OptionParser, resolve_n_jobs
from synth.melodies import Note
from synth.note_sets import SETS, NoteClip, plan_note_clips
from synth.rendering import claim_folder, name_write_errors, render_items, write_sound
from synth.synthesizer import draw_conditions, draw_performer, find_soundfont, mix_recording, synthesize

LENGTH_S = 1.0
START_S = (0.0, 0.1)
CHORD_SPREAD_S = 0.03
"""Within which the notes of a chord begin."""
NOTE_LENGTH_S = (0.6, 1.0)
VELOCITY = (60, 110)
VIBRATO_SEMITONES = 0.25
VERSION = 1
"""Raised when the sound of a clip changes."""


def render_note_clip(note_clip: NoteClip, folder: Path) -> None:
    """Synthesize a clip under conditions of its own, by a performer slightly out of tune, and write it."""
    generator = np.random.default_rng(note_clip.seed)
    conditions = draw_conditions(generator)
    performer = draw_performer(note_clip.midi_program.program, VIBRATO_SEMITONES, generator)
    start_s, note_length_s = generator.uniform(*START_S), generator.uniform(*NOTE_LENGTH_S)
    notes = [
        Note(begin, begin + note_length_s, key, int(generator.integers(VELOCITY[0], VELOCITY[1] + 1)))
        for key, begin in zip(
            note_clip.keys, start_s + generator.uniform(0, CHORD_SPREAD_S, len(note_clip.keys)), strict=True
        )
    ]
    write_sound(folder / note_clip.file, mix_recording(conditions, [synthesize(performer, notes, LENGTH_S)], generator))


def render_set(folder: Path, name: str, seed: int, repetitions: int, jobs: int) -> None:
    """Render what is missing of a set into its folder, and say what is there."""
    note_clips = plan_note_clips(name, seed, repetitions)
    claim_folder(folder, {"set": name, "seed": seed, "takes": repetitions, "version": VERSION})
    missing = [note_clip for note_clip in note_clips if not (folder / note_clip.file).exists()]
    render_items(render_note_clip, missing, folder, jobs)
    n_test = sum(note_clip.file.parts[0] == "test" for note_clip in note_clips)
    state = f"rendered {len(missing)} of" if missing else "already there,"
    print(f"{name}: {state} {len(note_clips) - n_test} training and {n_test} test clips, in {folder}")


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
            raise UserError(f"--{name} {getattr(options, name)}: must be at least {low}")
    return options


def main(arguments: Sequence[str] | None = None) -> None:
    """Render the sets, or say that they are there."""
    options = _options(arguments)
    find_soundfont()
    with name_write_errors(options.folder):
        for name in options.sets:
            repetitions = options.takes or SETS[name][0]
            render_set(options.folder / name, name, options.seed, repetitions, resolve_n_jobs(options.jobs))


if __name__ == "__main__":
    run_script(main)
