"""SCRIPT make predict: a submission's CSVs, for the clips of a dataset or for any recordings."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jsonargparse import ArgumentParser, Namespace
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from core.csv_tables import write_table
from core.device import pick_device
from core.entrypoint import log_warning, run_script
from core.errors import UserError
from core.file_lock import file_lock
from predict.decide.thresholds import (
    Thresholds,
    read_thresholds,
    window_min_scores,
    with_center_pooling,
    with_tuned_window_threshold,
)
from predict.inference.dataset_clips import FAILED_COLUMNS, choose_clips, find_failed, predict_stored_clips
from predict.inference.input_files import find_input_files
from predict.inference.recordings import predict_files, warn_if_no_augmented
from predict.inference.score_cache import open_score_cache
from predict.inference.tagger import ClipPrediction, TrainedRun, load_run, pool_views, warn_if_unfinished
from predict.output.annotation_formats import FORMATS, stale_exports
from predict.output.detections import DetectionFilter, detect
from predict.output.ground_truth import submission_path
from predict.output.provenance import source_name, why_foreign, write_provenance
from predict.output.submission import (
    CENTER_SUFFIX,
    SampleSubmission,
    align_to_sample,
    read_sample,
    write_decisions,
    write_submission,
    write_windows,
    write_windows_wide,
)
from preprocess.dataset.clip_table import read_clip_table
from preprocess.store.reader import open_store
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs
from train.evaluate.score_table import ScoreTable


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--input", type=str | None, help="A recording or a folder of them, instead of the dataset.")
    add_device_options(parser)
    parser.add_argument("--wide", action="store_true", help="Window table with a column a label.")
    parser.add_argument("--export", nargs="*", choices=list(FORMATS), default=[], help=f"Also as {', '.join(FORMATS)}.")
    parser.add_argument("--top_labels", type=PositiveInt | None, help="Most labels of a window.")
    parser.add_argument(
        "--min_score", type=ClosedUnitInterval | None, help="Lowest score there; exports: by default decisions."
    )
    parser.add_argument("--merge", action="store_true", help="Exports: consecutive windows of a label become one span.")


@dataclass(frozen=True)
class PredictionResults:
    """Everything there is to write."""

    clip_predictions: dict[str, ClipPrediction]
    failed: list[tuple[str, str]]
    sample: SampleSubmission | None


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Score clips with the networks of a run, and write the submission.", add_options)
    warn_if_merge_unused(command.options)
    device = pick_device(command.options.device)
    run_dir = command.run_paths.run_dir
    run = load_run(run_dir, with_tuned_window_threshold(run_dir, command.recipe.prediction), device)
    warn_if_unfinished(run_dir, run.recipe.training.epochs)
    submission, source = submission_path(command), source_name(command.options.input)
    if reason := why_foreign(run_dir, submission, source):
        log_warning(f"{submission} {reason}, and is replaced with what lies beside it: another RUN= leaves it alone")
    results = predict_input(command, run, device) if command.options.input else predict_dataset(command, run, device)
    write_results(command, run, results, submission)
    write_provenance(run_dir, submission, command.recipe.prediction, run.digest, source)


def warn_if_merge_unused(options: Namespace) -> None:
    """Say where `--merge` does nothing."""
    if options.merge and not options.export:
        log_warning("--merge does nothing without --export: windows are joined in exports alone")


def predict_dataset(command: Command, run: TrainedRun, device: torch.device) -> PredictionResults:
    """Answer the dataset's clips from the store."""
    run_paths = command.run_paths
    with open_store(run_paths.store, run.recipe.features) as store:
        wanted, description = choose_clips(read_clip_table(run_paths.clips_csv), run)
        failed = find_failed(wanted, store, run_paths)
        print(description)
        clip_predictions = predict_stored_clips(wanted, run, store, device, resolve_n_jobs(command.options.jobs))
    sample = read_sample(run_paths.sample_csv) if (wanted["split"] == "test").all() else None
    return PredictionResults(clip_predictions, list(failed.itertuples(index=False, name=None)), sample)


def predict_input(command: Command, run: TrainedRun, device: torch.device) -> PredictionResults:
    """Answer recordings of no dataset as they are heard."""
    source = Path(command.options.input)
    recordings = find_input_files(source)
    cache_dir = command.run_paths.run_dir / "score_cache"
    score_cache = open_score_cache(cache_dir, run)
    warn_if_no_augmented(run.prediction)
    print(f"{len(recordings)} recordings, answered by the networks of {len(run.folds)} folds together")
    n_jobs = resolve_n_jobs(command.options.jobs)
    with file_lock(cache_dir / ".lock", f"make predict INPUT= of run {command.run_paths.run}"):
        clip_predictions, failed = predict_files(
            recordings, run.tagger(), run.recipe.features, score_cache, device, n_jobs
        )
    if not clip_predictions:
        clip, reason = failed[0]
        raise UserError(f"none of the {len(recordings)} recordings of {source} could be read ({clip}: {reason})")
    return PredictionResults(clip_predictions, failed, None)


def write_results(command: Command, run: TrainedRun, results: PredictionResults, submission: Path) -> None:
    """Write the submission, and beside it windows, decisions, failures and exports, each whole; say where they are."""
    clip_predictions = results.clip_predictions
    scores = ScoreTable(
        list(clip_predictions),
        run.labels,
        np.stack([clip_prediction.scores for clip_prediction in clip_predictions.values()]),
    )
    submitted, unreadable = align_to_sample(scores, results.sample) if results.sample else (scores, [])
    if unreadable:
        log_warning(
            f"{len(unreadable)} clips could not be read and get the mean of the others: {', '.join(unreadable)}"
        )
    thresholds = read_thresholds(command.run_paths.run_dir, run.labels, run.prediction)

    def output_path(suffix: str) -> Path:
        return submission.with_name(submission.stem + suffix)

    write_window_table(command, output_path("_windows.csv"), clip_predictions, run.labels)
    write_decisions(output_path("_labels.csv"), scores, thresholds.decide(scores.values))
    write_submission(submission, submitted, results.sample)
    write_center(output_path(CENTER_SUFFIX), clip_predictions, run, results.sample)
    write_failed(output_path("_failed.csv"), results.failed)
    output_path(".html").unlink(missing_ok=True)  # of an earlier prediction: make inspect writes it anew
    for path in write_exports(command, run, output_path, clip_predictions, scores, thresholds):
        print(path)
    warn_if_stale_exports(command.options.export, output_path, clip_predictions)
    print(f"windows: {output_path('_windows.csv')}")
    print(f"labels decided at {thresholds.source}: {output_path('_labels.csv')}")
    print(f"{len(submitted.clips)} clips, {len(submitted.labels)} labels: {submission}")


def write_window_table(
    command: Command, path: Path, clip_predictions: dict[str, ClipPrediction], labels: list[str]
) -> None:
    """The window table, long or wide, with what the filters leave."""
    options = command.options
    write = write_windows_wide if options.wide else write_windows
    write(path, clip_predictions, labels, DetectionFilter(np.array(options.min_score or 0.0), options.top_labels))


def write_center(
    path: Path, clip_predictions: dict[str, ClipPrediction], run: TrainedRun, sample: SampleSubmission | None
) -> None:
    """The scores by the window in the middle of each clip and of its copies, in the submission's form.

    No file where that says nothing new.
    """
    one_window = with_center_pooling(run.prediction)
    clip_views = [clip_prediction.views for clip_prediction in clip_predictions.values()]
    if one_window == run.prediction or all(len(view) == 1 for views in clip_views for view in views):
        path.unlink(missing_ok=True)
        return
    pooled = [pool_views(list(map(torch.from_numpy, views)), one_window).numpy() for views in clip_views]
    scores = ScoreTable(list(clip_predictions), run.labels, np.stack(pooled))
    write_submission(path, align_to_sample(scores, sample)[0] if sample else scores, sample)


def write_failed(path: Path, failed: list[tuple[str, str]]) -> None:
    """The recordings that could not be read; no file where there are none."""
    if not failed:
        path.unlink(missing_ok=True)
        return
    log_warning(f"{len(failed)} recordings could not be read: see {path}")
    write_table(path, FAILED_COLUMNS, failed)


def write_exports(
    command: Command,
    run: TrainedRun,
    output_path: Callable[[str], Path],
    clip_predictions: dict[str, ClipPrediction],
    scores: ScoreTable,
    thresholds: Thresholds,
) -> Iterator[Path]:
    """Write the formats asked for, and name each."""
    options, features = command.options, run.recipe.features
    if not options.export:
        return
    min_scores = (
        window_min_scores(thresholds, run.prediction) if options.min_score is None else np.array(options.min_score)
    )
    filters = DetectionFilter(min_scores, options.top_labels, options.merge)
    found = {clip: detect(clip_prediction, run.labels, filters) for clip, clip_prediction in clip_predictions.items()}
    for name in options.export:
        suffix, write = FORMATS[name]
        yield write(output_path(suffix), found, scores, features.fmax_hz or features.sample_rate_hz / 2)


def warn_if_stale_exports(
    requested: Collection[str], output_path: Callable[[str], Path], clips: Collection[str]
) -> None:
    """Say which exports are still there of an earlier prediction: someone may have worked on them."""
    for name, (suffix, _) in FORMATS.items():
        if older := stale_exports(name, output_path(suffix), clips if name in requested else ()):
            those = f"{older[0]} is" if len(older) == 1 else f"{older[0]} and {len(older) - 1} more are"
            log_warning(f"{those} of an earlier prediction: delete what is of no use, or predict with --export {name}")


if __name__ == "__main__":
    run_script(main)
