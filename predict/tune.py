"""SCRIPT make tune: thresholds of a run, on its training clips as the networks that never saw them score them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from jsonargparse import ArgumentParser

from command import read_command
from errors import run_script
from predict.stored import answer_clips, choose_held_out
from predict.tagger import Answer, load_run
from predict.thresholds import DEFAULT, write_thresholds
from predict.tuning import Metric, tune
from preprocess.clips import read_clips
from preprocess.labels import encode
from preprocess.store import open_store
from recipe import Prediction
from train.device import pick_device
from train.metrics import f1_macro, f1_micro, hamming_score
from train.windows import pool_windows

METRICS = {"f1_micro": f1_micro, "f1_macro": f1_macro, "hamming": hamming_score}
WINDOW_THRESHOLDS = np.arange(0.05, 0.96, 0.05).round(2).tolist()
"""Tried for pooling share."""


def add_options(parser: ArgumentParser) -> None:
    parser.add_argument("--metric", choices=list(METRICS), default="f1_micro", help="What thresholds make the most of.")
    parser.add_argument("--per_label", action="store_true", help="A threshold a label, instead of one for all.")
    parser.add_argument("--device", type=str, default="auto", help="auto, cpu or cuda.")


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Tune thresholds on out-of-fold scores.", add_options)
    places, metric, per_label = command.places, command.options.metric, command.options.per_label
    device = pick_device(command.options.device)
    run = load_run(places.run_home, command.recipe.prediction, device)
    table = read_clips(places.clips_csv)
    clips = choose_held_out(table[table["trust"] == "curated"], run)
    with open_store(places.store, run.recipe.features) as store:
        answers = answer_clips(clips, run, store, device)
    clips = clips[clips["clip"].isin(answers)]
    truth = encode(clips["labels"], run.labels, clips=clips["clip"])
    prediction = choose_windows(answers, truth, run.prediction, metric, per_label)
    scores = pooled(answers, prediction)
    values = tune(scores, truth, metric, per_label=per_label)
    figures = {
        "default": measure(metric, truth, pooled(answers, run.prediction) >= DEFAULT),
        "tuned": measure(metric, truth, scores >= values),
        "tuned_on_other_folds": measure(
            metric, truth, cross_decide(scores, truth, clips["fold"].to_numpy(), metric, per_label)
        ),
    }
    tuned = {"metric": metric, "per_label": per_label, "clips": len(truth), **figures}
    path = write_thresholds(places.run_home, run.labels, values, prediction, tuned)
    print(f"{metric} on {len(truth)} out-of-fold clips")
    print(f"  {figures['default']:.4f}  at {DEFAULT} for every label")
    print(f"  {figures['tuned']:.4f}  at the tuned thresholds, on the clips they were tuned on")
    print(f"  {figures['tuned_on_other_folds']:.4f}  each fold at thresholds tuned on the others: expect this")
    if prediction.pooling == "share":
        print(f"a window has a label above {prediction.window_threshold}")
    print(f"thresholds from {values.min():.3f} to {values.max():.3f}: {path}")


def pooled(answers: dict[str, Answer], prediction: Prediction) -> np.ndarray:
    """Scores [n_clips, n_labels] of clips, pooled over their windows."""
    return np.stack([pool_windows(torch.from_numpy(answer.windows), prediction).numpy() for answer in answers.values()])


def choose_windows(
    answers: dict[str, Answer], truth: np.ndarray, prediction: Prediction, metric: Metric, per_label: bool
) -> Prediction:
    """`prediction` with the window threshold that, with the best share for it, makes the most of the metric."""
    if prediction.pooling != "share":
        return prediction
    tried = [replace(prediction, window_threshold=value) for value in WINDOW_THRESHOLDS]

    def reached(one: Prediction) -> float:
        scores = pooled(answers, one)
        return measure(metric, truth, scores >= tune(scores, truth, metric, per_label=per_label))

    return max(tried, key=reached)


def cross_decide(
    scores: np.ndarray, truth: np.ndarray, folds: np.ndarray, metric: Metric, per_label: bool
) -> np.ndarray:
    """Decisions [n_clips, n_labels] on each fold at thresholds tuned on the other folds."""
    decisions = np.zeros(scores.shape, bool)
    for fold in np.unique(folds):
        here = folds == fold
        if here.all():
            return scores >= tune(scores, truth, metric, per_label=per_label)
        decisions[here] = scores[here] >= tune(scores[~here], truth[~here], metric, per_label=per_label)
    return decisions


def measure(metric: Metric, truth: np.ndarray, decisions: np.ndarray) -> float:
    """The metric of decisions [n_clips, n_labels]."""
    return METRICS[metric](torch.from_numpy(truth), torch.from_numpy(decisions))


if __name__ == "__main__":
    run_script(main)
