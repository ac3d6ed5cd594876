"""SCRIPT make tune: thresholds of a run, on its training clips as the networks that never saw them score them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

from core.device import pick_device
from core.entrypoint import log_warning, run_script
from predict.decide.threshold_search import (
    METRICS,
    ScoresAtThreshold,
    TunedThresholds,
    compute_metric,
    cross_fit_decisions,
    search_with_window_threshold,
)
from predict.decide.thresholds import DEFAULT_THRESHOLD, with_center_pooling, write_thresholds
from predict.inference.oof_predictions import OofPredictions, predict_mixtures, predict_out_of_fold
from predict.inference.tagger import TrainedRun, load_run
from recipe import Prediction, Tuning
from recipe.bounds import NonNegativeInt
from recipe.cli import Command, add_device_options, parse_command, resolve_n_jobs

WINDOW_THRESHOLDS = np.arange(0.02, 0.99, 0.02).round(2).tolist()
"""Tried for pooling vote_fraction."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--metric", choices=list(METRICS), help="Instead of tuning.metric.")
    parser.add_argument("--per_label", action="store_true", help="As tuning.per_label true.")
    parser.add_argument("--mixtures", type=NonNegativeInt | None, help="Instead of tuning.mixtures.")
    add_device_options(parser)


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Tune thresholds on out-of-fold scores.", add_options)
    run_paths, options, tuning = command.run_paths, command.options, resolve_tuning(command)
    device, n_jobs = pick_device(options.device), resolve_n_jobs(options.jobs)
    run = load_run(run_paths.run_dir, command.recipe.prediction, device)
    if tuning.mixtures:
        oof = predict_mixtures(run_paths, run, device, n_jobs, tuning)
    else:
        oof = predict_out_of_fold(run_paths, run, device, n_jobs)
    if run.prediction.pooling == "vote_fraction" and oof.all_short:
        warning = "out-of-fold clips have one or two windows, too few for a share: try --mixtures 300"
        log_warning(warning)
    tune_and_write(run_paths.run_dir, run, run.prediction, oof, tuning)
    one_window = with_center_pooling(run.prediction)
    if not oof.all_short and one_window != run.prediction:
        print("\nwithout sliding windows, by the one in the middle of each:")
        tune_and_write(run_paths.run_dir, run, one_window, oof, tuning)


def resolve_tuning(command: Command) -> Tuning:
    """The recipe's tuning, with what the options say otherwise."""
    tuning, options = command.recipe.tuning, command.options
    return replace(
        tuning,
        metric=options.metric or tuning.metric,
        per_label=options.per_label or tuning.per_label,
        mixtures=tuning.mixtures if options.mixtures is None else options.mixtures,
    )


def tune_and_write(run_dir: Path, run: TrainedRun, prediction: Prediction, oof: OofPredictions, tuning: Tuning) -> None:
    """Choose the thresholds for these windows, write them, and print what they bring."""
    scores_at = pool_at_thresholds(oof, prediction)
    thresholds = search_with_window_threshold(scores_at, oof.truth, tuning.metric, per_label=tuning.per_label)
    metrics = evaluate_thresholds(oof, scores_at, thresholds, prediction, tuning)
    prediction = replace(prediction, window_threshold=thresholds.window_threshold)
    tuned = {"metric": tuning.metric, "per_label": tuning.per_label, "clips": oof.description, **metrics}
    path = write_thresholds(run_dir, run.labels, thresholds.values, prediction, tuned)
    print(f"{tuning.metric} on {oof.description}")
    print(f"  {metrics['default']:.4f}  at {DEFAULT_THRESHOLD} for every label")
    print(f"  {metrics['tuned']:.4f}  at the tuned thresholds, on the clips they were tuned on")
    if "tuned_on_other_folds" in metrics:
        print(f"  {metrics['tuned_on_other_folds']:.4f}  each fold at thresholds tuned on the others: expect this")
    else:
        print("  only one fold is trained: nothing tells what to expect of other clips")
    if prediction.pooling == "vote_fraction":
        print(f"a window has a label above {prediction.window_threshold}, a clip from a share of windows on:")
    print(f"thresholds from {thresholds.values.min():.3f} to {thresholds.values.max():.3f}: {path}")


def evaluate_thresholds(
    oof: OofPredictions, scores_at: ScoresAtThreshold, thresholds: TunedThresholds, before: Prediction, tuning: Tuning
) -> dict[str, float]:
    """The metric untuned, tuned, and, with two folds or more, as it is to be expected of other clips."""
    truth, metric = oof.truth, tuning.metric
    metrics = {
        "default": compute_metric(metric, truth, oof.pool_scores(before) >= DEFAULT_THRESHOLD),
        "tuned": compute_metric(metric, truth, scores_at[thresholds.window_threshold] >= thresholds.values),
    }
    if len(np.unique(oof.folds)) > 1:
        across = cross_fit_decisions(scores_at, truth, oof.folds, metric, per_label=tuning.per_label)
        metrics["tuned_on_other_folds"] = compute_metric(metric, truth, across)
    return metrics


def pool_at_thresholds(oof: OofPredictions, prediction: Prediction) -> ScoresAtThreshold:
    """Scores of clips by each window threshold that is tried; with other poolings it has no say."""
    tried = {prediction.window_threshold, *(WINDOW_THRESHOLDS if prediction.pooling == "vote_fraction" else ())}
    return {at: oof.pool_scores(replace(prediction, window_threshold=at)) for at in sorted(tried)}


if __name__ == "__main__":
    run_script(main)
