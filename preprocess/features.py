"""SCRIPT  make features: recordings → clips.csv, labels.csv and features.h5. Only what is missing is computed."""

import atexit
import gc
import shutil
import sys
import time
from collections.abc import Iterable, Sequence
from errno import EDQUOT, EFBIG, ENOSPC
from itertools import count
from secrets import token_hex
from typing import Literal

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval

from core.csv_tables import write_table
from core.entrypoint import run_script
from core.errors import BadInput
from core.file_lock import locked
from core.paths import Places
from core.progress import Progress
from preprocess.build.failures import read_failures, write_failures
from preprocess.build.messages import ClipJob, Failure
from preprocess.build.plan import Done, Wanted, count_workers, cut_into_parts
from preprocess.build.worker_pool import Crew
from preprocess.dataset.clip_table import write_clips
from preprocess.dataset.labels import write_vocabulary
from preprocess.dataset.loader import Layout, read_layout
from preprocess.frames.filterbank import filters_of
from preprocess.store.encoding import coding_of
from preprocess.store.file_identity import quick_stamp
from preprocess.store.schema import Damaged, OtherRecipe, Row
from preprocess.store.writer import write_store
from recipe import Features
from recipe.cli import count_jobs, read_command


def say(line: str) -> None:
    """A line for people, at once."""
    print(line, file=sys.stderr, flush=True)


def write_tables(layout: Layout, places: Places) -> None:
    """Write what is known of the clips beside their frames."""
    for note in layout.notes:
        say(note)
    write_clips(places.clips_csv, layout.table)
    write_vocabulary(places.labels_csv, layout.vocabulary)
    if layout.sample is not None:
        write_table(places.sample_csv, list(layout.sample.columns), layout.sample.itertuples(index=False))
    else:
        places.sample_csv.unlink(missing_ok=True)  # of another dataset


def clips_wanted(layout: Layout, features: Features, *, copy_all: bool) -> dict[str, Wanted]:
    """The clips of a layout by name, with offline copies of those to train on, or of all."""
    n_copies = len(features.pitch_shifts) + len(features.time_stretches) + len(features.noise_snrs_db)
    columns = (layout.table[name] for name in ("clip", "path", "split"))
    return {
        clip: Wanted(ClipJob(clip, path, n_copies if copy_all or split == "train" else 0), quick_stamp(path))
        for clip, path, split in zip(*columns, strict=True)
    }


def clear_half_written(places: Places) -> None:
    """Remove what processes that are gone had under temporary names."""
    for leftover in [*places.home.glob(f".{places.store.name}.*.tmp"), *places.parts.glob(".*.tmp")]:
        leftover.unlink(missing_ok=True)  # an orphan of a killed run may just have finished it


def take_finished(done: Done, places: Places) -> list[Row]:
    """Keep what earlier runs finished, clear away what they left half-done. The rows of the store, if it is sound."""
    clear_half_written(places)
    stored: list[Row] = []
    for path in [places.store, *sorted(places.parts.glob("*.part"))]:
        if not path.exists():
            continue
        try:
            rows, damaged = (done.take_store if path == places.store else done.take_part)(path)
        except OtherRecipe as error:
            if path == places.store:
                say(f"the recipe has changed ({error.changes}): every clip is computed again")
        except Damaged as error:
            say(f"{path}: {error.reason}; its clips are computed again")
        else:
            stored = rows if path == places.store and not damaged else stored
            for clip in sorted(damaged):
                say(f"{path}: the frames of {clip!r} are damaged; they are computed again")
    return stored


def compute(
    missing: Sequence[Wanted], done: Done, places: Places, n_workers: int, device: str, failures: list[Failure]
) -> None:
    """Compute the frames of clips, in parts that `done` keeps; recordings that could not be read join `failures`."""
    parts, numbers = places.parts.absolute(), count()
    run = token_hex(4)  # parts of an earlier run stay, and a process's number may come again
    jobs = list(cut_into_parts(missing, n_workers, lambda: parts / f"{run}-{next(numbers)}.part"))
    try:
        with Crew(done.features, n_workers, device=device) as crew, Progress(len(missing)) as progress:
            for wrote in crew.compute(jobs):
                for end in wrote.ends:
                    progress.add(end.duration_s, end.failure is not None)
                    failures += [end.failure] if end.failure else []
                if wrote.part:
                    done.keep(wrote.part, wrote.rows)  # write_store checks them
    finally:
        clear_half_written(places)  # of workers ended while they wrote, because another met a full disk


def warn_of_empty_bands(features: Features) -> None:
    """Say how many mel bands lie between two bins of the spectrum, and hold none."""
    n_empty = int((~filters_of(features).any(axis=1)).sum()) if features.kind == "logmel" else 0
    if n_empty:
        say(
            f"{n_empty} of {features.n_bins} mel bands hold no bin of an n_fft of {features.n_fft}, and stay empty: "
            "lower features.n_bins, or raise n_fft"
        )


def make_store(
    wanted: dict[str, Wanted], features: Features, places: Places, n_jobs: int, device: str
) -> list[Failure]:
    """Bring the store up to date. The recordings that could not be read, now or, unchanged since, before."""
    began = time.monotonic()
    done = Done(features, wanted)
    stored = take_finished(done, places)
    known = [one for one in read_failures(places.failed_csv, features) if one.clip in wanted]
    failures = [one for one in known if wanted[one.clip].is_from(one.source)]
    passed_over = {one.clip for one in failures} | done.pieces.keys()
    missing = [one for clip, one in wanted.items() if clip not in passed_over]
    if missing:
        warn_of_empty_bands(features)
        n_workers = count_workers(missing, n_jobs)
        say(f"{len(wanted)} clips: {len(done.pieces)} are done, {len(missing)} to compute with {n_workers} jobs")
    try:
        if missing:
            compute(missing, done, places, n_workers, device, failures)
    finally:  # a decoder that hangs has cost a minute: whatever ends this, it need not be tried again
        write_failures(places.failed_csv, features, failures)
    changed = sorted(wanted.keys() - done.pieces.keys() - {one.clip for one in failures})
    if changed:
        say(
            f"warning: {len(changed)} of {len(wanted)} recordings changed while they were read and are left out, "
            f"the first {changed[0]!r}: run the same command again"
        )
    pieces = done.in_order()
    if not pieces:
        raise BadInput(f"none of the {len(wanted)} recordings could be read; see {places.failed_csv}")
    if [piece.row for piece in pieces] == stored:
        say(f"nothing to do: {places.store} is up to date ({len(done.pieces)} clips)")
    else:
        write_store(places.store, features, coding_of(features), pieces)
        hours = sum(piece.row.duration_s for piece in pieces) / 3600
        spent_s = time.monotonic() - began
        say(f"wrote {places.store}: {len(done.pieces)} clips, {hours:.2f} h of sound, in {spent_s:.1f} s")
    shutil.rmtree(places.parts, ignore_errors=True)
    return failures


def warn(failures: Iterable[Failure], places: Places, n_clips: int, max_failures: float) -> int:
    """Warn of the recordings left out; the exit status."""
    n_failed = len(list(failures))
    if not n_failed:
        return 0
    say(f"warning: {n_failed} of {n_clips} recordings could not be read and are left out; see {places.failed_csv}")
    if n_failed <= max_failures * n_clips:
        return 0
    say(f"that is more than --max_failures {max_failures:g}: mend them, take them out, or allow more")
    return 1


def add_options(parser: ArgumentParser) -> None:
    """The script's own options."""
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that compute; -1 is one a core.")
    parser.add_argument("--device", type=Literal["cpu", "cuda"], default="cpu", help="Where logmel is computed.")
    parser.add_argument("--max_failures", type=ClosedUnitInterval, default=0.05, help="Share that may fail.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the layout, write the tables, and bring the store up to date."""
    command = read_command(arguments, "Turn recordings into features, once.", add_options)
    places, options = command.places, command.options
    n_jobs = count_jobs(options.jobs)
    layout = read_layout(command.recipe.data)
    features = command.recipe.features
    try:
        with locked(places.home / ".lock", "make features"):
            write_tables(layout, places)
            wanted = clips_wanted(layout, features, copy_all=command.recipe.prediction.view_copies)
            failures = make_store(wanted, features, places, n_jobs, options.device)
    except OSError as error:
        advice = "make room" if error.errno in (ENOSPC, EDQUOT, EFBIG) else "mend that"
        raise BadInput(
            f"{error.filename or places.home}: {error.strerror or error}; {advice}, or name another --cache; what was "
            "finished is kept, run the same command again"
        ) from error
    return warn(failures, places, len(layout.table), options.max_failures)


if __name__ == "__main__":
    # Searching what pandas leaves for cycles takes 0.15 s of the exit. Beside PyTorch, whose bindings would take it for
    # a leak and say so, this is not to be had.
    atexit.register(gc.freeze)
    run_script(main)
