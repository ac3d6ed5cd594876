"""SCRIPT make notes: notes and chords from MIDI keys and a General MIDI soundfont, each file named by what sounds."""

from core.entrypoint import RESUME_ADVICE, run_script

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import PositiveInt

from synth.note_sets import SETS, VERSION, plan_note_clips, render_note_clip
from synth.rendering import parse_options, render_items


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
    parser = ArgumentParser(exit_on_error=False, description="Render sets of notes, a folder each.")
    parser.add_argument("--folder", type=Path, default=Path("cache/notes"), help="Where the sets' folders go.")
    parser.add_argument("--sets", nargs="+", choices=list(SETS), default=list(SETS), help="Which; by default all.")
    parser.add_argument("--takes", type=PositiveInt, help="How often an instrument plays all notes; chords: how many.")
    options = parse_options(parser, arguments)
    for name in options.sets:
        render_set(options.folder.expanduser() / name, name, options.seed, options.takes or SETS[name][0], options.jobs)


if __name__ == "__main__":
    run_script(main, RESUME_ADVICE)
