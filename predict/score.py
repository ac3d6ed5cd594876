"""SCRIPT make score: a submission against the truth, overall and by label, with and without sliding windows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.entrypoint import run_script
from core.errors import UserError
from predict.decide.thresholds import Thresholds, read_thresholds, with_center_pooling
from predict.output.ground_truth import (
    Truth,
    add_submission_options,
    find_truth,
    scores_in_truth_order,
    submission_path,
    warn_if_predicted_otherwise,
)
from predict.output.submission import CENTER_SUFFIX, read_submission
from predict.output.summary import METRIC_NAMES
from recipe import Prediction
from recipe.cli import Command, parse_command
from train.evaluate import metrics
from train.evaluate.score_table import ScoreTable


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Score a submission against the truth.", add_submission_options)
    options, path = command.options, submission_path(command)
    prediction, center = command.recipe.prediction, path.with_name(path.stem + CENTER_SUFFIX)
    warn_if_predicted_otherwise(command, path)
    print_score(command, path, read_submission(path), prediction)
    if not options.submission and center.exists():
        print("\nwithout sliding windows, by the one in the middle of each clip:")
        print_score(command, center, read_submission(center), with_center_pooling(prediction))


def print_score(command: Command, path: Path, scores: ScoreTable, prediction: Prediction) -> None:
    """Say everything of scores made with these windows. Raises UserError where no truth is known."""
    options, run_paths = command.options, command.run_paths
    truth = find_truth(options.truth, None if options.input else run_paths.clips_csv, scores)
    if truth is None:
        raise UserError(f"no labels are known of the clips of {path}: give them, make score TRUTH=file.csv")
    thresholds = read_thresholds(run_paths.run_dir, scores.labels, prediction)
    print(
        f"{path} against {truth.source}: {len(truth.clips)} of {len(scores.clips)} clips, {len(scores.labels)} labels"
    )
    print(f"decisions at {thresholds.source}\n")
    print(_describe(truth, scores_in_truth_order(truth, scores), thresholds, scores.labels))


def _describe(truth: Truth, scores: np.ndarray, thresholds: Thresholds, labels: Sequence[str]) -> str:
    """The metrics overall, a table of a line a label, and what was left out."""
    present, values = torch.from_numpy(truth.values), torch.from_numpy(scores)
    decisions = torch.from_numpy(thresholds.decide(scores))
    metrics_by_name = metrics.compute_metrics(present, values, torch.from_numpy(thresholds.values))
    overall = [f"{name:<14} {metrics_by_name[key]:.4f}" for key, name in METRIC_NAMES.items() if key in metrics_by_name]
    gaps = metrics.describe_excluded(present, labels)
    return "\n".join(
        [*overall, "", *_label_lines(present, values, decisions, labels), *[f"note: {gap}" for gap in gaps]]
    )


def _label_lines(truth: Tensor, scores: Tensor, decisions: Tensor, labels: Sequence[str]) -> list[str]:
    """A line a label: clips that have it, are given it wrongly, are wrongly denied it; lwlrap, AP and F1."""
    ranking, _ = metrics.lwlrap_per_class(truth, scores)
    columns = [ranking, metrics.average_precision_per_class(truth, scores), metrics.f1_per_class(truth, decisions)]
    width = max(len("label"), *map(len, labels))
    wrong = [metrics.false_positives(truth, decisions), metrics.false_negatives(truth, decisions)]
    counts = [truth.sum(0), decisions.sum(0), *wrong]
    lines = [f"{'label':<{width}}  clips  decided  false  missed  lwlrap      AP      F1"]
    for index, label in enumerate(labels):
        numbers = [int(count[index]) for count in counts]
        cells = "".join(f"  {number:>{size}}" for number, size in zip(numbers, (5, 7, 5, 6), strict=True))
        lines.append(f"{label:<{width}}{cells}" + "".join(f"  {float(column[index]):>6.3f}" for column in columns))
    return lines


if __name__ == "__main__":
    run_script(main)
