"""SCRIPT make tune: thresholds of a run, tuned on its out-of-fold scores."""

from core.entrypoint import log_warning, run_script

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

from core.device import pick_device
from predict.decide.fitted_params import min_clip_score, write_thresholds
from predict.decide.threshold_search import (
    METRICS,
    ScoresAtThreshold,
    compute_metric,
    cross_fit_decisions,
    search_with_window_threshold,
)
from predict.inference.oof_predictions import OofPredictions, predict_mixtures, predict_out_of_fold
from predict.inference.run_loader import TrainedRun, load_run
from recipe import Prediction, Tuning
from recipe.bounds import NonNegativeInt
from recipe.cli import add_device_options, parse_command, resolve_n_jobs
from recipe.prediction import DEFAULT_THRESHOLD
from train.evaluate.windows import TIE_BREAK_WEIGHT
from train.runs.run_folder import find_corrections

WINDOW_THRESHOLDS = np.arange(0.02, 0.99, 0.02).round(2).tolist()
"""Tried for pooling vote_fraction."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--metric", choices=list(METRICS), help="Instead of tuning.metric.")
    parser.add_argument("--per_label", action="store_true", help="As tuning.per_label true.")
    parser.add_argument("--mixtures", type=NonNegativeInt | None, help="Instead of tuning.mixtures.")
    add_device_options(parser)


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Tune thresholds on out-of-fold scores.", add_options)
    run_paths, options, tuning = command.run_paths, command.options, command.recipe.tuning
    tuning = replace(
        tuning,
        metric=options.metric or tuning.metric,
        per_label=options.per_label or tuning.per_label,
        mixtures=tuning.mixtures if options.mixtures is None else options.mixtures,
    )
    device, n_jobs = pick_device(options.device), resolve_n_jobs(options.jobs)
    run = load_run(run_paths.run_dir, command.recipe.prediction, device)
    corrections = find_corrections(run_paths, command.recipe)
    if tuning.mixtures:
        oof = predict_mixtures(run_paths, run, device, n_jobs, corrections, tuning)
    else:
        oof = predict_out_of_fold(run_paths, run, device, n_jobs, corrections)
    most_windows = max(len(each.windows) for each in oof.clip_predictions)
    if run.prediction.pooling == "vote_fraction" and most_windows <= 2:
        log_warning("out-of-fold clips have one or two windows, too few for a share: try --mixtures 300")
    tune_and_write(run_paths.run_dir, run, oof, tuning)


def tune_and_write(run_dir: Path, run: TrainedRun, oof: OofPredictions, tuning: Tuning) -> None:
    """Choose a run's thresholds, write them, and print the metric without and with them."""
    scores_at, truth, metric = pool_at_thresholds(oof, run.prediction), oof.truth, tuning.metric
    window_threshold, thresholds = search_with_window_threshold(scores_at, truth, metric, per_label=tuning.per_label)
    prediction = replace(run.prediction, window_threshold=window_threshold)
    by_default = oof.pool_scores(run.prediction) >= min_clip_score(DEFAULT_THRESHOLD, run.prediction)
    # At a threshold below all votes make predict would give the label to clips without any, whose scores are -1 here.
    thresholds = np.maximum(thresholds, TIE_BREAK_WEIGHT if prediction.pooling == "vote_fraction" else 0)
    values = {
        "default": compute_metric(metric, truth, by_default),
        "tuned": compute_metric(metric, truth, scores_at[window_threshold] >= thresholds),
    }
    print(f"{metric} on {oof.description}")
    print(f"  {values['default']:.4f}  at {DEFAULT_THRESHOLD} for every label")
    print(f"  {values['tuned']:.4f}  at the tuned thresholds, on the clips they were tuned on")
    if len(np.unique(oof.folds)) > 1:
        across = cross_fit_decisions(scores_at, truth, oof.folds, metric, per_label=tuning.per_label)
        values["tuned_on_other_folds"] = compute_metric(metric, truth, across)
        print(f"  {values['tuned_on_other_folds']:.4f}  each fold at thresholds tuned on the others: expect this")
    else:
        print("  these clips are of one fold: there is no estimate for other clips")
    chosen_by = {"metric": metric, "per_label": tuning.per_label, "clips": oof.description, "mixtures": tuning.mixtures}
    path = write_thresholds(run_dir, run.labels, thresholds, prediction, chosen_by | values)
    if prediction.pooling == "vote_fraction":
        print(f"windows count above {prediction.window_threshold}; thresholds are for the share of windows that count:")
    print(f"thresholds from {thresholds.min():.3f} to {thresholds.max():.3f}: {path}")


def pool_at_thresholds(oof: OofPredictions, prediction: Prediction) -> ScoresAtThreshold:
    """Scores of clips by each window threshold that is tried: one, unless vote_fraction has none given.

    A label without votes has -1 there, so that no threshold gives it for the probability that breaks ties.
    """
    if prediction.pooling != "vote_fraction":
        return {prediction.count_above(): oof.pool_scores(prediction)}
    tried = [prediction.count_above(), *(WINDOW_THRESHOLDS if prediction.window_threshold is None else ())]
    scores_at = {at: oof.pool_scores(replace(prediction, window_threshold=at)) for at in sorted(set(tried))}
    return {at: np.where(scores < TIE_BREAK_WEIGHT, -1, scores) for at, scores in scores_at.items()}


if __name__ == "__main__":
    run_script(main)
