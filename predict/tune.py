"""SCRIPT make tune: thresholds of a run, on its training clips as the networks that never saw them score them."""

import sys
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jsonargparse import ArgumentParser, Namespace

from command import count_jobs, read_command
from errors import run_script
from predict.held_out import HeldOut, answer_held_out, answer_mixtures
from predict.tagger import load_run
from predict.thresholds import DEFAULT, write_thresholds
from predict.tuning import METRICS, Choice, Pooled, decide_across, measure, tune_together
from recipe import Natural, Prediction
from train.device import pick_device

WINDOW_THRESHOLDS = np.arange(0.02, 0.99, 0.02).round(2).tolist()
"""Tried for pooling share."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--metric", choices=list(METRICS), default="f1_micro", help="What thresholds make the most of.")
    parser.add_argument("--per_label", action="store_true", help="A threshold a label, instead of one for all.")
    parser.add_argument(
        "--mixtures",
        type=Natural,
        default=0,
        help="Tune on so many pieces mixed from out-of-fold clips instead of on these clips as they are.",
    )
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")
    parser.add_argument("--jobs", type=int, default=-1, help="Cores to keep busy; -1 is all.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Tune thresholds on out-of-fold scores.", add_options)
    places, options = command.places, command.options
    device, n_jobs = pick_device(options.device), count_jobs(options.jobs)
    run = load_run(places.run_home, command.recipe.prediction, device)
    if options.mixtures:
        held_out = answer_mixtures(places, run, device, n_jobs, options.mixtures)
    else:
        held_out = answer_held_out(places, run, device, n_jobs)
    if run.prediction.pooling == "share" and held_out.short:
        warning = "out-of-fold clips have one or two windows, too few for a share: try --mixtures 300"
        print(f"warning: {warning}", file=sys.stderr)
    pooled = pool(held_out, run.prediction)
    choice = tune_together(pooled, held_out.truth, options.metric, per_label=options.per_label)
    figures = compare(held_out, pooled, choice, run.prediction, command.options)
    prediction = replace(run.prediction, window_threshold=choice.window_threshold)
    tuned = {"metric": options.metric, "per_label": options.per_label, "clips": held_out.what, **figures}
    path = write_thresholds(places.run_home, run.labels, choice.values, prediction, tuned)
    print(f"{options.metric} on {held_out.what}")
    print(f"  {figures['default']:.4f}  at {DEFAULT} for every label")
    print(f"  {figures['tuned']:.4f}  at the tuned thresholds, on the clips they were tuned on")
    print(f"  {figures['tuned_on_other_folds']:.4f}  each fold at thresholds tuned on the others: expect this")
    if prediction.pooling == "share":
        print(f"a window has a label above {prediction.window_threshold}, a clip from a share of windows on:")
    print(f"thresholds from {choice.values.min():.3f} to {choice.values.max():.3f}: {path}")


def compare(
    held_out: HeldOut, pooled: Pooled, choice: Choice, before: Prediction, options: Namespace
) -> dict[str, float]:
    """The metric untuned, tuned, and as it is to be expected of other clips."""
    truth, metric = held_out.truth, options.metric
    across = decide_across(pooled, truth, held_out.folds, metric, per_label=options.per_label)
    return {
        "default": measure(metric, truth, held_out.pooled(before) >= DEFAULT),
        "tuned": measure(metric, truth, pooled[choice.window_threshold] >= choice.values),
        "tuned_on_other_folds": measure(metric, truth, across),
    }


def pool(held_out: HeldOut, prediction: Prediction) -> Pooled:
    """Scores of clips by each window threshold that is tried; with other poolings it has no say."""
    tried = WINDOW_THRESHOLDS if prediction.pooling == "share" else [prediction.window_threshold]
    return {at: held_out.pooled(replace(prediction, window_threshold=at)) for at in tried}


if __name__ == "__main__":
    run_script(main)
