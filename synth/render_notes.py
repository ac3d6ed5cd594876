"""SCRIPT make notes: notes and chords from MIDI keys and a General MIDI soundfont, each file named by what sounds."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from core.entrypoint import run_script
from recipe.cli import OptionParser
from synth.melodies import Note
from synth.note_sets import SETS, NoteClip, plan_note_clips
from synth.rendering import parse_options, render_items, write_sound
from synth.synthesizer import draw_conditions, draw_performer, mix_recording, synthesize

LENGTH_S = 1.0
START_S = (0.0, 0.1)
CHORD_SPREAD_S = 0.03
"""Longest time from a chord's first note to its last."""
NOTE_LENGTH_S = (0.6, 1.0)
VELOCITY = (60, 110)
VIBRATO_SEMITONES = 0.25
VERSION = 1
"""Raised when the sound of a clip changes."""


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


def render_set(folder: Path, name: str, seed: int, repetitions: int, jobs: int) -> None:
    """Render what is missing of a set into its folder, and print what is there."""
    note_clips = plan_note_clips(name, seed, repetitions)
    missing = [note_clip for note_clip in note_clips if not (folder / note_clip.file).exists()]
    spec = {"set": name, "seed": seed, "takes": repetitions, "version": VERSION}
    render_items(render_note_clip, missing, folder, spec, jobs)
    n_test = sum(note_clip.file.parts[0] == "test" for note_clip in note_clips)
    state = f"rendered {len(missing)} of" if missing else "already there,"
    print(f"{name}: {state} {len(note_clips) - n_test} training and {n_test} test clips, in {folder}")


def main(arguments: Sequence[str] | None = None) -> None:
    """Render what is missing of the sets, and print what is there."""
    parser = OptionParser(description="Render sets of notes, a folder each.")
    parser.add_argument("--folder", type=Path, default=Path("cache/notes"), help="Where the sets' folders go.")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="Which; by default all.")
    parser.add_argument("--takes", type=int, help="How often an instrument plays all notes; of chords, how many.")
    options = parse_options(parser, arguments, takes=1)
    for name in options.sets:
        render_set(options.folder / name, name, options.seed, options.takes or SETS[name][0], options.jobs)


if __name__ == "__main__":
    run_script(main)
