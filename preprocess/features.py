"""SCRIPT  make features: recordings → clips.csv, labels.csv and features.h5. Only what is missing is computed."""

from core.entrypoint import RESUME_ADVICE, get_logger, run_script

from collections.abc import Sequence
from pathlib import Path

from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval

from core.file_lock import file_lock
from core.sandbox import start_sandboxes
from preprocess.audio.isolated import decoder_limits
from recipe.cli import parse_command, resolve_n_jobs

MAX_EARLY_SANDBOXES = 4
"""Sandboxes that start while the dataset is read, when nobody knows how many are of use."""


def report_failures(n_failed: int, n_clips: int, max_failures: float, failed_csv: Path) -> int:
    """Warn of the recordings left out; the exit status."""
    if n_failed:
        get_logger().warning(f"{n_failed} of {n_clips} recordings could not be read and are left out; see {failed_csv}")
    if n_failed <= max_failures * n_clips:
        return 0
    get_logger().warning(f"that is more than --max_failures {max_failures:g}: mend them, take them out, or allow more")
    return 1


def add_options(parser: ArgumentParser) -> None:
    """The script's own options."""
    parser.add_argument("--jobs", type=int, default=-1, help="Processes that compute; -1 is one a core.")
    parser.add_argument("--max_failures", type=ClosedUnitInterval, default=0.05, help="Share that may fail.")
    parser.add_argument("--scheduler", type=str, help="Compute on the dask cluster of this address.")
    parser.add_argument("--retry_failed", action="store_true", help="Try what failed.csv names as well.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Read the dataset, write the tables, and bring the store up to date."""
    command = parse_command(arguments, "Turn recordings into features, once.", add_options)
    run_paths, options = command.run_paths, command.options
    n_jobs = resolve_n_jobs(options.jobs)  # refuses a bad number before anything is read
    if not options.scheduler:
        limits = decoder_limits(command.recipe.data)
        start_sandboxes(min(n_jobs, MAX_EARLY_SANDBOXES), limits, "preprocess.build.shard_task")
    # These imports take half a second, in which the sandboxes start.
    from preprocess.build.store_update import build_store
    from preprocess.dataset.loader import read_dataset

    dataset = read_dataset(command.recipe.data)
    for note in dataset.notes:
        get_logger().info(note)
    for warning in dataset.warnings:
        get_logger().warning(warning)
    with file_lock(run_paths.dataset_dir / ".lock", "make features"):
        failures = build_store(dataset, command.recipe, run_paths, options)
    return report_failures(len(failures), len(dataset.table), options.max_failures, run_paths.failed_csv)


if __name__ == "__main__":
    run_script(main, RESUME_ADVICE)
