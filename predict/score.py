"""SCRIPT make score: a submission against the truth, overall and by label, with and without sliding windows."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from core.entrypoint import run_script
from core.errors import BadInput
from predict.decide.thresholds import Thresholds, centred, read_thresholds
from predict.output.ground_truth import (
    Truth,
    add_submission_options,
    find_truth,
    match_rows,
    submission_path,
    warn_of_other_prediction,
)
from predict.output.submission import CENTRE_SUFFIX, read_submission
from predict.output.summary import METRIC_NAMES
from recipe import Prediction
from recipe.cli import Command, read_command
from train.evaluate import metrics
from train.evaluate.score_table import Scores


def main(arguments: Sequence[str] | None = None) -> None:
    command = read_command(arguments, "Score a submission against the truth.", add_submission_options)
    options, path = command.options, submission_path(command)
    prediction, centre = command.recipe.prediction, path.with_name(path.stem + CENTRE_SUFFIX)
    warn_of_other_prediction(command, path)
    print_score(command, path, read_submission(path), prediction)
    if not options.submission and centre.exists():
        print("\nwithout sliding windows, by the one in the middle of each clip:")
        print_score(command, centre, read_submission(centre), centred(prediction))


def print_score(command: Command, path: Path, scores: Scores, prediction: Prediction) -> None:
    """Say everything of scores made with these windows. Raises BadInput where no truth is known."""
    options, places = command.options, command.places
    truth = find_truth(options.truth, None if options.input else places.clips_csv, scores)
    if truth is None:
        raise BadInput(f"no labels are known of the clips of {path}: give them, make score TRUTH=file.csv")
    thresholds = read_thresholds(places.run_home, scores.labels, prediction)
    print(
        f"{path} against {truth.source}: {len(truth.clips)} of {len(scores.clips)} clips, {len(scores.labels)} labels"
    )
    print(f"decisions at {thresholds.source}\n")
    print(_describe(truth, match_rows(truth, scores), thresholds, scores.labels))


def _describe(truth: Truth, scores: np.ndarray, thresholds: Thresholds, labels: Sequence[str]) -> str:
    """The metrics overall, a table of a line a label, and what was left out."""
    present, values = torch.from_numpy(truth.values), torch.from_numpy(scores)
    decisions = torch.from_numpy(thresholds.decide(scores))
    summary = metrics.summarise(present, values, torch.from_numpy(thresholds.values))
    overall = [f"{name:<14} {summary[key]:.4f}" for key, name in METRIC_NAMES.items() if key in summary]
    gaps = metrics.describe_gaps(present, labels)
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
        figures = "".join(f"  {number:>{size}}" for number, size in zip(numbers, (5, 7, 5, 6), strict=True))
        lines.append(f"{label:<{width}}{figures}" + "".join(f"  {float(column[index]):>6.3f}" for column in columns))
    return lines


if __name__ == "__main__":
    run_script(main)
