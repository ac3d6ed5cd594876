"""SCRIPT  make features: recordings → clips.csv, labels.csv and features.h5. Only what is missing is computed."""

import os
import shutil
import sys
from collections.abc import Sequence
from itertools import count

import pandas as pd
from jsonargparse import ArgumentParser

from command import read_command
from errors import BadInput, run_script
from places import Places
from preprocess.clips import check_clips, write_clips
from preprocess.coding import coding_of
from preprocess.crew import Crew
from preprocess.jobs import ClipJob, Failure, source_stamp
from preprocess.labels import write_vocabulary
from preprocess.layouts import read_layout
from preprocess.plan import Done, cut_into_parts
from preprocess.progress import Progress
from preprocess.store_writer import write_store
from preprocess.tables import write_table
from recipe import Features, Share


def _say(line: str) -> None:
    print(line, file=sys.stderr)


def make_store(table: pd.DataFrame, features: Features, places: Places, n_jobs: int) -> list[Failure]:
    """Bring the store up to date with the table of clips; the recordings that could not be read."""
    paths = dict(zip(table["clip"], table["path"], strict=True))
    done = Done(features, {clip: source_stamp(path) for clip, path in paths.items()}, _say)
    stored: list[str] = []
    if places.store.exists():
        try:
            stored = done.take(places.store)
        except BadInput as error:
            _say(f"{error}")
    for part in sorted(places.parts.glob("*.h5")):
        try:
            done.take(part)
        except BadInput:
            part.unlink()
    missing = [ClipJob(clip, path) for clip, path in paths.items() if clip not in done.pieces]
    failures = compute(missing, features, places, n_jobs, done)
    pieces = [piece for clip in paths for piece in done.pieces.get(clip, [])]
    if [piece.row.clip for piece in pieces] == stored and not missing:
        _say(f"nothing to do: {places.store} is up to date")
    elif pieces:
        write_store(places.store, features, coding_of(features), pieces)
        _say(f"wrote {places.store}")
    shutil.rmtree(places.parts, ignore_errors=True)
    return failures


def compute(missing: list[ClipJob], features: Features, places: Places, n_jobs: int, done: Done) -> list[Failure]:
    """Compute the frames of clips, in parts that `done` takes; the recordings that could not be read."""
    numbers = count()
    jobs = cut_into_parts(missing, n_jobs, lambda: places.parts / f"{os.getpid()}-{next(numbers)}.h5")
    failures: list[Failure] = []
    with Crew(features, min(n_jobs, len(jobs))) as crew, Progress(len(missing)) as progress:
        for wrote in crew.compute(jobs) if jobs else ():
            for end in wrote.ends:
                progress.add(end.duration_s, end.failure is not None)
                failures += [end.failure] if end.failure else []
            if wrote.part:
                done.take(wrote.part)
    return failures


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="Processes that compute.")
    parser.add_argument("--max_failures", type=Share, default=0.05, help="Share of unreadable recordings borne.")


def main(arguments: Sequence[str] | None = None) -> int:
    command = read_command(arguments, "Turn recordings into features, once.", add_options)
    places, options = command.places, command.options
    layout = read_layout(command.recipe.data)
    check_clips(layout.table)
    write_clips(places.clips_csv, layout.table)
    write_vocabulary(places.labels_csv, layout.vocabulary)
    if layout.sample is not None:
        write_table(places.sample_csv, list(layout.sample.columns), layout.sample.itertuples(index=False))
    failures = make_store(layout.table, command.recipe.features, places, options.jobs)
    rows = [(failure.clip, failure.path, failure.reason) for failure in failures]
    if rows:
        write_table(places.failed_csv, ["clip", "path", "reason"], rows)
        _say(f"warning: {len(rows)} of {len(layout.table)} recordings could not be read; see {places.failed_csv}")
    return int(len(rows) > options.max_failures * len(layout.table))


if __name__ == "__main__":
    run_script(main)
