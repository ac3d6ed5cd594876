"""SCRIPT: render the demo's instrument set, in the layout of IRMAS, from notes and a General MIDI soundfont."""

from core.entrypoint import RESUME_ADVICE, run_script

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import NonNegativeInt, PositiveInt

from synth.demo_set import VERSION, plan_sessions, render_session
from synth.melodies import INSTRUMENTS
from synth.rendering import parse_options, render_items


def main(arguments: Sequence[str] | None = None) -> None:
    """Render what is missing of the set, and print what is there."""
    parser = ArgumentParser(exit_on_error=False, description="Render the demo's instrument set.")
    parser.add_argument("--folder", type=Path, default=Path("cache/demo_audio"), help="Where the set goes.")
    parser.add_argument("--train_clips", type=PositiveInt, default=150, help="Clips of each instrument.")
    parser.add_argument("--test_clips", type=NonNegativeInt, default=60, help="Clips of 1 to 5 instruments.")
    options = parse_options(parser, arguments)
    spec = {name: getattr(options, name) for name in ("seed", "train_clips", "test_clips")}
    sessions = [session for session in plan_sessions(**spec) if session.is_missing(options.folder)]
    render_items(render_session, sessions, options.folder, {**spec, "version": VERSION}, options.jobs)
    n_train = options.train_clips * len(INSTRUMENTS)
    state = f"rendered {len(sessions)} sessions of" if sessions else "already there,"
    print(f"demo sound: {state} {n_train} training and {options.test_clips} test clips, in {options.folder}")


if __name__ == "__main__":
    run_script(main, RESUME_ADVICE)
