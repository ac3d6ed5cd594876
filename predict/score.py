"""SCRIPT make score: a submission against the truth, overall and by label."""

from collections.abc import Sequence

import pandas as pd
import torch

from core.entrypoint import run_script
from core.errors import UserError
from predict.output.ground_truth import add_submission_options, submission_path
from predict.output.summary import SubmissionSummary, summarise_submission
from recipe.cli import parse_command
from train.evaluate import metrics


def main(arguments: Sequence[str] | None = None) -> None:
    command = parse_command(arguments, "Score a submission against the truth.", add_submission_options)
    path = submission_path(command)
    summary = summarise_submission(command, path)
    n_known, source = summary.has_truth.sum(), command.options.truth or command.run_paths.clips_csv
    if not n_known:
        raise UserError(f"no labels are known of the clips of {path}: give them, make score TRUTH=file.csv")
    print(f"{path} against {source}: {n_known} of {len(summary.clips)} clips, {len(summary.labels)} labels")
    print(f"decisions at {summary.thresholds.source}\n")
    for name, value in summary.metrics().items():
        print(f"{name:<14} {value:.4f}")
    print(f"\n{label_table(summary).to_string(float_format='%.3f')}")
    for gap in metrics.describe_excluded(torch.from_numpy(summary.truth[summary.has_truth]), summary.labels):
        print(f"note: {gap}")


def label_table(summary: SubmissionSummary) -> pd.DataFrame:
    """Each label's clips, decisions, false positives and negatives, lwlrap, AP and F1, where the truth is known."""
    known = summary.has_truth
    truth, scores, decisions = map(
        torch.from_numpy, (each[known] for each in (summary.truth, summary.scores, summary.decisions))
    )
    columns = {
        "clips": truth.sum(0).int(),
        "decided": decisions.sum(0),
        "false": metrics.false_positives(truth, decisions),
        "missed": metrics.false_negatives(truth, decisions),
        "lwlrap": metrics.lwlrap_per_class(truth, scores),
        "AP": metrics.average_precision_per_class(truth, scores),
        "F1": metrics.f1_per_class(truth, decisions),
    }
    table = pd.DataFrame({name: column.numpy() for name, column in columns.items()}, index=summary.labels)
    return table.rename_axis("label", axis=1)


if __name__ == "__main__":
    run_script(main)
