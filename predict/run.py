"""SCRIPT make predict: a submission's CSVs, for the clips of a dataset or for any recordings."""

from core.entrypoint import log_warning, run_script

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jsonargparse import ArgumentParser
from jsonargparse.typing import ClosedUnitInterval, PositiveInt

from core.csv_tables import write_table
from core.device import pick_devices
from core.errors import UserError
from core.file_lock import file_lock
from core.files import replace_files
from core.paths import DECISIONS_NAME, FAILED_NAME, PREDICTION_NAMES, SUBMISSION_NAME, WARNINGS_NAME, WINDOWS_NAME
from predict.decide.fitted_params import Thresholds, read_thresholds, window_min_scores, with_window_threshold
from predict.inference.dataset_clips import (
    FAILED_COLUMNS,
    choose_clips,
    find_failed,
    find_trained_recordings,
    predict_stored_clips,
)
from predict.inference.recordings import find_input_files, predict_files
from predict.inference.run_loader import TrainedRun, load_run, warn_if_unfinished
from predict.inference.score_cache import score_cache_dir
from predict.inference.tagger import ClipPrediction
from predict.output.annotation_formats import FORMATS, Exported, highest_hz, stale_exports
from predict.output.detections import DetectionFilter, add_times, detect
from predict.output.ground_truth import submission_path
from predict.output.provenance import (
    compare_exports,
    describe_trained,
    source_name,
    warn_if_trained_otherwise,
    why_foreign,
    write_provenance,
)
from predict.output.submission import (
    SampleSubmission,
    align_to_sample,
    read_sample,
    write_decisions,
    write_submission,
    write_windows,
)
from preprocess.audio.isolated import decoder_limits
from preprocess.audio.recording_time import find_start_times
from preprocess.dataset.clip_table import hash_frames_digests
from preprocess.store.reader import open_store
from recipe import as_dict
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs
from train.data.corrected_clips import read_corrected_clips
from train.evaluate.score_table import ScoreTable
from train.evaluate.windows import describe_scores
from train.runs.run_folder import find_corrections


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--input", type=str, help="A recording or a folder of them, instead of the dataset.")
    add_device_options(parser, "auto, cpu, cuda, or several: cuda:0,cuda:1.")
    parser.add_argument("--scheduler", type=str, help="Score recordings of INPUT on the dask cluster of this address.")
    parser.add_argument("--wide", action="store_true", help="Window table with a column a label.")
    parser.add_argument("--export", nargs="*", choices=list(FORMATS), default=[], help=f"Also as {', '.join(FORMATS)}.")
    parser.add_argument("--top_labels", type=PositiveInt | None, help="Most labels of a window.")
    parser.add_argument(
        "--min_score", type=ClosedUnitInterval | None, help="Lowest score there; exports: by default decisions."
    )
    parser.add_argument("--merge", action="store_true", help="Exports: consecutive windows of a label become one span.")
    parser.add_argument(
        "--audacity_scores", type=bool, default=True, help="Exports to Audacity: the score stands behind each label."
    )


@dataclass(frozen=True)
class PredictionResults:
    """The predictions by clip, what could not be read or only in part, and the form of the submission."""

    clip_predictions: dict[str, ClipPrediction]
    recordings: Mapping[str, Path]
    """Where each clip's recording lies."""
    failed: list[tuple[str, str]]
    """(clip, reason)"""
    warnings: list[tuple[str, str]]
    """(clip, warning)"""
    sample: SampleSubmission | None
    frames: str | None = None
    """Digest of the frames of a dataset's clips."""
    trained: Sequence[str] = ()
    """Recordings of no dataset that the networks were trained on all the same."""
    start_times: Mapping[str, datetime] = field(default_factory=dict)
    """When recordings began, of those of which it is known."""


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Score clips with the networks of a run, and write the submission.", add_options)
    run_paths, options = command.run_paths, command.options
    if options.scheduler and not options.input:
        raise UserError("--scheduler is for recordings of --input: clips of a dataset are scored on this machine")
    if options.merge and not options.export:
        log_warning("--merge does nothing without --export: windows are joined in exports alone")
    devices, run_dir = pick_devices(options.device), run_paths.run_dir
    run = load_run(run_dir, with_window_threshold(run_dir, command.recipe.prediction), devices[0])
    warn_if_unfinished(run_dir, run.recipe.training.epochs)
    warn_if_trained_otherwise(command)
    submission = submission_path(command)
    if reason := why_foreign(run_paths, submission, source_name(options.input)):
        advice = f"to keep it, stop this command and move {submission.parent} elsewhere"
        log_warning(f"{submission} {reason}, and is replaced with what lies beside it: {advice}")
    thresholds = read_thresholds(run_dir, run.labels, run.prediction)
    results = predict_input(command, run, devices) if options.input else predict_dataset(command, run, devices)
    write_results(command, run, results, thresholds, submission.parent)


def predict_dataset(command: Command, run: TrainedRun, devices: Sequence[torch.device]) -> PredictionResults:
    """Predict the dataset's clips from the store."""
    run_paths = command.run_paths
    with open_store(run_paths.store, run.recipe.features) as store:
        clips = read_corrected_clips(run_paths, find_corrections(run_paths, command.recipe), store)
        wanted, description = choose_clips(clips.table, run)
        failed = find_failed(wanted, store, run_paths)
        print(description)
        if others := sorted(set(clips.labels) ^ set(run.labels)):
            change = "is gone from the dataset" if others[0] in run.labels else "is new, the networks give it no score"
            log_warning(f"label {others[0]!r} {change} (one of {len(others)}): run make train again")
        sample = read_sample(run_paths.sample_csv) if (wanted["split"] == "test").all() else None
        if sample:
            sample.check(wanted.loc[wanted["clip"].isin(store.clips), "clip"], run.labels)
        n_jobs = resolve_n_jobs(command.options.jobs)
        clip_predictions = predict_stored_clips(wanted, run, store, devices[0], n_jobs, [str(each) for each in devices])
    frames = hash_frames_digests(clips.table, clip_predictions)
    by_clip = dict(zip(store.clips, store.warnings, strict=True))
    warnings = [(clip, by_clip[clip]) for clip in clip_predictions if by_clip.get(clip)]
    unreadable = list(failed.itertuples(index=False, name=None))
    recordings = dict(zip(wanted["clip"], map(Path, wanted["path"]), strict=True))
    times = find_start_times(recordings, clip_predictions)
    return PredictionResults(clip_predictions, recordings, unreadable, warnings, sample, frames, start_times=times)


def predict_input(command: Command, run: TrainedRun, devices: Sequence[torch.device]) -> PredictionResults:
    """Predict recordings that belong to no dataset."""
    run_paths, options, run_dir = command.run_paths, command.options, command.run_paths.run_dir
    recordings = find_input_files(Path(options.input))
    # Runs on a disk that cannot be written have it beside their submissions.
    cache_dir = (run_dir if os.access(run_dir, os.W_OK) else run_paths.submission_dir) / "score_cache"
    print(f"{len(recordings)} recordings, by the networks of {len(run.folds)} folds together")
    trained = find_trained_recordings(recordings, run, run_paths.store)
    if trained:
        log_warning(describe_trained(trained))
    with file_lock(cache_dir / ".lock", f"make predict INPUT= of run {run_paths.run}"):
        clip_predictions, failed, warnings = predict_files(
            recordings,
            run.tagger(),
            run.recipe.features,
            score_cache_dir(cache_dir, run),
            run_dir,
            decoder_limits(command.recipe.data),
            devices[0],
            resolve_n_jobs(options.jobs),
            options.scheduler,
            [options.device] if options.scheduler else [str(device) for device in devices],
        )
    if not clip_predictions:
        clip, reason = failed[0]
        raise UserError(f"none of the {len(recordings)} recordings of {options.input} could be read ({clip}: {reason})")
    times = find_start_times(recordings, clip_predictions)
    return PredictionResults(clip_predictions, recordings, failed, warnings, None, trained=trained, start_times=times)


def write_results(
    command: Command, run: TrainedRun, results: PredictionResults, thresholds: Thresholds, folder: Path
) -> None:
    """Write submission, windows, decisions, failures, exports and provenance, all or none; print where they are."""
    predictions, options = results.clip_predictions, command.options
    scores = ScoreTable(list(predictions), run.labels, np.stack([each.scores for each in predictions.values()]))
    submitted, unreadable = align_to_sample(scores, results.sample) if results.sample else (scores, [])
    if unreadable:
        log_warning(
            f"{len(unreadable)} clips could not be read and get the mean of the others: {', '.join(unreadable)}"
        )
    filters = DetectionFilter(options.min_score or 0.0, options.top_labels)
    in_force = replace(command.recipe.prediction, window_threshold=run.prediction.window_threshold)
    with replace_files(folder, PREDICTION_NAMES) as new:
        write_windows(
            new / WINDOWS_NAME, predictions, run.labels, filters, wide=options.wide, start_times=results.start_times
        )
        write_decisions(new / DECISIONS_NAME, scores, thresholds.decide(scores.values))
        write_submission(new / SUBMISSION_NAME, submitted, results.sample)
        if results.failed:
            write_table(new / FAILED_NAME, FAILED_COLUMNS, results.failed)
        if results.warnings:
            write_table(new / WARNINGS_NAME, ["clip", "warning"], results.warnings)
        if options.export:
            write_exports(command, run, results, thresholds, scores, new)
        exports, edited = compare_exports(new, folder)
        details: dict[str, Any] = {
            "networks": run.digest,
            "source": source_name(options.input),
            "prediction": as_dict(in_force),
            **asdict(run.temperatures),
            "thresholds": dict(zip(run.labels, thresholds.values.tolist(), strict=True)),
            "frames": results.frames,
            "trained": list(results.trained),
            "exports": exports,
        }
        write_provenance(new / SUBMISSION_NAME, command.run_paths.name, details)
        for path, kept_path in edited.items():
            path.replace(kept_path)
    if edited:
        first = next(iter(edited.values()))
        log_warning(f"{len(edited)} exports were changed since they were written, and are kept, the first as {first}")
    warn_if_stale_exports(options.export, folder, predictions)
    if results.failed:
        log_warning(f"{len(results.failed)} recordings could not be read: see {folder / FAILED_NAME}")
    if results.warnings:
        clip, warning = results.warnings[0]
        table = folder / WARNINGS_NAME
        log_warning(f"{len(results.warnings)} recordings are to be checked ({clip}: {warning}): see {table}")
    for name in options.export:
        print(folder / FORMATS[name][0])
    n_known = len(results.start_times)
    known = f", with the times of {n_known} of {len(predictions)} recordings" if n_known else ""
    print(f"windows: {folder / WINDOWS_NAME}{known}")
    print(f"labels decided at {thresholds.source}: {folder / DECISIONS_NAME}")
    print(f"a clip's score is {describe_scores(run.prediction)}")
    print(f"{len(submitted.clips)} clips, {len(submitted.labels)} labels: {folder / SUBMISSION_NAME}")


def write_exports(
    command: Command,
    run: TrainedRun,
    results: PredictionResults,
    thresholds: Thresholds,
    scores: ScoreTable,
    folder: Path,
) -> None:
    """Write the detections to `folder` in the formats that the command names."""
    options, features, predictions = command.options, run.recipe.features, results.clip_predictions
    min_scores = window_min_scores(thresholds, run.prediction) if options.min_score is None else options.min_score
    filters = DetectionFilter(min_scores, options.top_labels, options.merge)
    exported = Exported(
        detections={
            clip: add_times(detect(prediction, run.labels, filters), results.start_times.get(clip))
            for clip, prediction in predictions.items()
        },
        scores=scores,
        recordings=results.recordings,
        durations_s={clip: prediction.duration_s for clip, prediction in predictions.items()},
        fmax_hz=highest_hz(features),
        audacity_scores=options.audacity_scores,
    )
    for name in options.export:
        filename, write = FORMATS[name]
        write(folder / filename, exported)


def warn_if_stale_exports(requested: Collection[str], folder: Path, clips: Collection[str]) -> None:
    """Warn of exports of an earlier prediction, which stay: someone may have worked on them."""
    for name, (filename, _) in FORMATS.items():
        if older := stale_exports(name, folder / filename, clips if name in requested else ()):
            those = f"{older[0]} is" if len(older) == 1 else f"{older[0]} and {len(older) - 1} more are"
            log_warning(f"{those} of an earlier prediction: delete what is of no use, or predict with --export {name}")


if __name__ == "__main__":
    run_script(main, "what was finished of INPUT= is kept, run the same command again to go on")
