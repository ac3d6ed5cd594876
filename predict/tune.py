"""SCRIPT make tune: thresholds of a run, on its training clips as the networks that never saw them score them."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jsonargparse import ArgumentParser

from core.device import pick_device
from core.entrypoint import run_script, warn
from predict.decide.threshold_search import METRICS, Choice, Pooled, decide_across, measure, tune_together
from predict.decide.thresholds import DEFAULT, centred, write_thresholds
from predict.inference.oof_predictions import HeldOut, answer_held_out, answer_mixtures
from predict.inference.tagger import Run, load_run
from recipe import Prediction, Tuning
from recipe.bounds import Natural
from recipe.cli import Command, add_machine_options, count_jobs, read_command

WINDOW_THRESHOLDS = np.arange(0.02, 0.99, 0.02).round(2).tolist()
"""Tried for pooling share."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--metric", choices=list(METRICS), help="Instead of tuning.metric.")
    parser.add_argument("--per_label", action="store_true", help="As tuning.per_label true.")
    parser.add_argument("--mixtures", type=Natural | None, help="Instead of tuning.mixtures.")
    add_machine_options(parser)


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Tune thresholds on out-of-fold scores.", add_options)
    places, options, tuning = command.places, command.options, tuning_of(command)
    device, n_jobs = pick_device(options.device), count_jobs(options.jobs)
    run = load_run(places.run_home, command.recipe.prediction, device)
    if tuning.mixtures:
        held_out = answer_mixtures(places, run, device, n_jobs, tuning)
    else:
        held_out = answer_held_out(places, run, device, n_jobs)
    if run.prediction.pooling == "share" and held_out.short:
        warning = "out-of-fold clips have one or two windows, too few for a share: try --mixtures 300"
        warn(warning)
    tune_windows(places.run_home, run, run.prediction, held_out, tuning)
    one_window = centred(run.prediction)
    if not held_out.short and one_window != run.prediction:
        print("\nwithout sliding windows, by the one in the middle of each:")
        tune_windows(places.run_home, run, one_window, held_out, tuning)


def tuning_of(command: Command) -> Tuning:
    """The recipe's tuning, with what the options say otherwise."""
    tuning, options = command.recipe.tuning, command.options
    return replace(
        tuning,
        metric=options.metric or tuning.metric,
        per_label=options.per_label or tuning.per_label,
        mixtures=tuning.mixtures if options.mixtures is None else options.mixtures,
    )


def tune_windows(run_home: Path, run: Run, prediction: Prediction, held_out: HeldOut, tuning: Tuning) -> None:
    """Choose the thresholds for these windows, write them, and print what they bring."""
    pooled = pool(held_out, prediction)
    choice = tune_together(pooled, held_out.truth, tuning.metric, per_label=tuning.per_label)
    figures = compare(held_out, pooled, choice, prediction, tuning)
    prediction = replace(prediction, window_threshold=choice.window_threshold)
    tuned = {"metric": tuning.metric, "per_label": tuning.per_label, "clips": held_out.what, **figures}
    path = write_thresholds(run_home, run.labels, choice.values, prediction, tuned)
    print(f"{tuning.metric} on {held_out.what}")
    print(f"  {figures['default']:.4f}  at {DEFAULT} for every label")
    print(f"  {figures['tuned']:.4f}  at the tuned thresholds, on the clips they were tuned on")
    if "tuned_on_other_folds" in figures:
        print(f"  {figures['tuned_on_other_folds']:.4f}  each fold at thresholds tuned on the others: expect this")
    else:
        print("  only one fold is trained: nothing tells what to expect of other clips")
    if prediction.pooling == "share":
        print(f"a window has a label above {prediction.window_threshold}, a clip from a share of windows on:")
    print(f"thresholds from {choice.values.min():.3f} to {choice.values.max():.3f}: {path}")


def compare(held_out: HeldOut, pooled: Pooled, choice: Choice, before: Prediction, tuning: Tuning) -> dict[str, float]:
    """The metric untuned, tuned, and, with two folds or more, as it is to be expected of other clips."""
    truth, metric = held_out.truth, tuning.metric
    figures = {
        "default": measure(metric, truth, held_out.pooled(before) >= DEFAULT),
        "tuned": measure(metric, truth, pooled[choice.window_threshold] >= choice.values),
    }
    if len(np.unique(held_out.folds)) > 1:
        across = decide_across(pooled, truth, held_out.folds, metric, per_label=tuning.per_label)
        figures["tuned_on_other_folds"] = measure(metric, truth, across)
    return figures


def pool(held_out: HeldOut, prediction: Prediction) -> Pooled:
    """Scores of clips by each window threshold that is tried; with other poolings it has no say."""
    tried = {prediction.window_threshold, *(WINDOW_THRESHOLDS if prediction.pooling == "share" else ())}
    return {at: held_out.pooled(replace(prediction, window_threshold=at)) for at in sorted(tried)}


if __name__ == "__main__":
    run_script(main)
