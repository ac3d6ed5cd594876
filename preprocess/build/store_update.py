"""The store and the tables of a dataset brought up to date: what is missing is computed, the rest is kept."""

from core.entrypoint import get_logger

import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from secrets import token_hex

from jsonargparse import Namespace

from core.csv_tables import write_table
from core.errors import UserError
from core.files import remove_temporary_files, replace_files
from core.parallel import run_parallel
from core.paths import RunPaths
from core.progress import progress_bar
from preprocess.audio.isolated import ErrorTally, decoder_limits
from preprocess.audio.offline_augment import offline_augmentations
from preprocess.build.event_times import fit_to_recordings
from preprocess.build.failures import Failure, read_failures, write_failures
from preprocess.build.plan import ReusableRows, count_workers, read_rows, split_into_tasks
from preprocess.build.shard_task import ClipJob, ShardTask, compute_shards
from preprocess.dataset.annotations.event_table import write_event_table
from preprocess.dataset.clip_table import write_clip_table
from preprocess.dataset.labels import write_vocabulary
from preprocess.dataset.loader import Dataset
from preprocess.frames.filterbank import mel_filterbank
from preprocess.store.encoding import encoding_for
from preprocess.store.file_identity import is_same_file, stat_fingerprint
from preprocess.store.schema import CorruptStore, RecipeMismatch, Row, features_digest
from preprocess.store.writer import RowSource, write_store
from recipe import Features, Recipe, as_dict, get_section
from recipe.cli import resolve_n_jobs
from recipe.recipe_file import RecipeFileError, read_recipe_file

MAX_CLUSTER_JOBS = 256
"""Workers that tasks are split for on a cluster, which has an unknown number of them."""


def write_results(
    dataset: Dataset, features: Features, row_sources: Sequence[RowSource], run_paths: RunPaths, *, with_store: bool
) -> None:
    """Write what is known of the clips, and their frames, all under their final names or nothing."""
    tables = [path.name for path in (run_paths.labels_csv, run_paths.sample_csv, run_paths.events_csv)]
    tables.append(run_paths.clips_csv.name)
    with replace_files(run_paths.dataset_dir, tables) as folder:
        new = replace(run_paths, cache=folder.parent, name=folder.name)
        rows = [row_source.row for row_source in row_sources]
        write_clip_table(new.clips_csv, dataset.table, {row.clip: row.digest for row in rows if row.variant == 0})
        write_vocabulary(new.labels_csv, dataset.vocabulary)
        if dataset.events is not None:
            write_event_table(new.events_csv, dataset.events)
        if dataset.sample is not None:
            write_table(new.sample_csv, list(dataset.sample.columns), dataset.sample.itertuples(index=False))
        if with_store:
            write_store(new.store, features, encoding_for(features), row_sources)


def plan_clips(dataset: Dataset, features: Features) -> dict[str, ClipJob]:
    """The clips of a dataset by name, with offline copies of those to train on."""
    n_augmentations = len(offline_augmentations("", features))
    columns = (dataset.table[name] for name in ("clip", "path", "split"))
    return {
        clip: ClipJob(clip, path, n_augmentations if split == "train" else 0, stat_fingerprint(path))
        for clip, path, split in zip(*columns, strict=True)
    }


def load_reusable_rows(reusable: ReusableRows, run_paths: RunPaths) -> list[Row]:
    """Add what earlier runs finished, and remove their temporary files. Returns the rows of an intact store."""
    for leftover in run_paths.dataset_dir.glob(".new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    remove_temporary_files(run_paths.shards_dir)
    stored: list[Row] = []
    for path in filter(Path.exists, [run_paths.store, *sorted(run_paths.shards_dir.glob("*.shard"))]):
        try:
            rows, corrupt, frames_at = read_rows(path, reusable.features)
        except RecipeMismatch as error:
            if path == run_paths.store:
                get_logger().info(f"the recipe has changed ({error.changes}): every clip is computed again")
                if runs := find_runs_of_other_features(run_paths, reusable.features):
                    get_logger().warning(
                        f"runs of other features ({', '.join(runs)}) cannot predict from the new frames: to keep them, "
                        "stop this command and give it a --name of its own"
                    )
        except CorruptStore as error:
            get_logger().warning(f"{path}: {error.reason}; its clips are computed again")
        else:
            reusable.add_rows(path, rows, corrupt, frames_at)
            stored = rows if path == run_paths.store and not corrupt else stored
            for clip in sorted(corrupt):
                get_logger().warning(f"{path}: the frames of {clip!r} are damaged; they are computed again")
    return stored


def compute_missing(
    missing: Sequence[ClipJob], reusable: ReusableRows, recipe: Recipe, run_paths: RunPaths, options: Namespace
) -> Iterator[Failure]:
    """Compute the frames of clips, in shards that `reusable` keeps; yield the recordings that could not be read."""
    n_workers = count_workers(missing, MAX_CLUSTER_JOBS if options.scheduler else resolve_n_jobs(options.jobs))
    get_logger().info(
        f"{len(reusable.planned)} clips: {len(reusable.row_sources)} are done, "
        f"{len(missing)} to compute with {n_workers} jobs"
    )
    limits, shards_dir, run = decoder_limits(recipe.data), run_paths.shards_dir.absolute(), token_hex(4)
    fingerprint = features_digest(recipe.features)
    tasks = [  # shards of earlier runs stay
        ShardTask(shards_dir / f"{run}-{number}.shard", clips, recipe.features, fingerprint, limits)
        for number, clips in enumerate(split_into_tasks(missing, n_workers))
    ]
    tally, audio_s, n_failed = ErrorTally(), 0.0, 0
    with (
        progress_bar(len(missing), "features", "clip") as bar,
        closing(run_parallel(compute_shards, tasks, n_workers, options.scheduler)) as results,
    ):
        for result in chain.from_iterable(results):
            for clip in result.clip_results:
                audio_s, n_failed = audio_s + clip.duration_s, n_failed + bool(clip.error)
                bar.set_postfix_str(f"{audio_s / 3600:.2f} h of sound, {n_failed} failed", refresh=False)
                bar.update()
                tally.add(clip.error)
                if clip.error:
                    yield Failure(clip.job.clip, clip.job.path, clip.error.reason, clip.source)
            reusable.add_rows(result.shard, result.rows)  # write_store checks them


def find_runs_of_other_features(run_paths: RunPaths, features: Features) -> list[str]:
    """The runs of a dataset whose networks take other frames than those of `features`."""
    runs = []
    for path in sorted(run_paths.dataset_dir.glob("runs/[!.]*/recipe.yaml")):
        with suppress(RecipeFileError, OSError):
            if get_section(read_recipe_file(path), "features") != as_dict(features):
                runs.append(path.parent.name)
    return runs


def warn_of_empty_bands(features: Features) -> None:
    """Warn of mel bands that lie between two bins of the spectrum, and hold none."""
    n_empty = int((~mel_filterbank(features).any(axis=1)).sum()) if features.kind == "logmel" else 0
    if n_empty:
        get_logger().warning(
            f"{n_empty} of {features.n_bins} mel bands hold no bin of an n_fft of {features.n_fft}, and stay empty: "
            "lower features.n_bins, or raise n_fft"
        )


def build_store(dataset: Dataset, recipe: Recipe, run_paths: RunPaths, options: Namespace) -> list[Failure]:
    """Bring store and tables up to date. Returns the recordings that cannot be read, tried now or unchanged since.

    The store stays as it is where more than `max_failures` of the clips, some of its own among them, may be read again.
    """
    began, features = time.monotonic(), recipe.features
    planned = plan_clips(dataset, features)
    reusable = ReusableRows(features, planned)
    stored = load_reusable_rows(reusable, run_paths)
    known = [] if options.retry_failed else read_failures(run_paths.failed_csv, features)
    failures = [
        one
        for one in known
        if one.clip in planned and is_same_file(one.source, planned[one.clip].source, planned[one.clip].path)
    ]
    skipped = {one.clip for one in failures} | reusable.row_sources.keys()
    missing = [one for clip, one in planned.items() if clip not in skipped]
    try:
        if missing:
            warn_of_empty_bands(features)
            failures.extend(compute_missing(missing, reusable, recipe, run_paths, options))
    finally:  # a decoder that hangs has cost a minute: whatever ends this, it need not be tried again
        write_failures(run_paths.failed_csv, features, failures)
    changed = sorted(planned.keys() - reusable.row_sources.keys() - {one.clip for one in failures})
    if changed:
        get_logger().warning(
            f"{len(changed)} of {len(planned)} recordings changed while they were read and are left out, "
            f"the first {changed[0]!r}: run the same command again"
        )
    unreachable = {one.clip for one in failures if not one.source}
    n_finished = len(unreachable & {row.clip for row in stored})
    if n_finished and len(unreachable) > options.max_failures * len(planned):
        get_logger().warning(
            f"{run_paths.store} stays as it is, with the frames of {n_finished} recordings that cannot be read now"
        )
        return failures
    row_sources = reusable.ordered_row_sources()
    if not row_sources:
        raise UserError(f"none of the {len(planned)} recordings could be read; see {run_paths.failed_csv}")
    if dataset.events is not None:
        events, warnings = fit_to_recordings(dataset.events, [row_source.row for row_source in row_sources])
        dataset = replace(dataset, events=events)
        for warning in warnings:
            get_logger().warning(warning)
    n_clips, is_current = len(reusable.row_sources), [row_source.row for row_source in row_sources] == stored
    write_results(dataset, features, row_sources, run_paths, with_store=not is_current)
    report_warnings((one.row for one in row_sources), planned, run_paths.warnings_csv)
    if is_current:
        outcome = "nothing new" if missing else "nothing to do"
        get_logger().info(f"{outcome}: {run_paths.store} is up to date ({n_clips} clips)")
    else:
        hours, elapsed_s = sum(one.row.duration_s for one in row_sources) / 3600, time.monotonic() - began
        get_logger().info(f"wrote {run_paths.store}: {n_clips} clips, {hours:.2f} h of sound, in {elapsed_s:.1f} s")
    shutil.rmtree(run_paths.shards_dir, ignore_errors=True)
    return failures


def report_warnings(rows: Iterable[Row], planned: Mapping[str, ClipJob], warnings_csv: Path) -> None:
    """Write warnings.csv, of recordings that were read in part or look odd; where there are none, remove it."""
    warnings = [(row.clip, planned[row.clip].path, row.warning) for row in rows if row.warning and not row.variant]
    if not warnings:
        warnings_csv.unlink(missing_ok=True)
        return
    write_table(warnings_csv, ["clip", "path", "warning"], warnings)
    clip, _, warning = warnings[0]
    get_logger().warning(f"{len(warnings)} recordings are to be checked ({clip}: {warning}); see {warnings_csv}")
