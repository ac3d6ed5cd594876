"""SCRIPT make score: a submission against the truth, overall and by label."""

from core.entrypoint import run_script

from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import torch

from core.errors import UserError
from predict.output.event_summary import describe_events, summarise_events, write_event_metrics
from predict.output.ground_truth import add_submission_options, submission_path
from predict.output.summary import TUNED_HERE, SubmissionSummary, summarise_submission
from recipe.cli import Command, parse_command
from train.evaluate import metrics
from train.evaluate.event_metrics import OFFSET_SHARE, ONSET_COLLAR_S
from train.loop.epoch_log import describe_epoch_choice


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
    if summary.is_tuned_here:
        print(TUNED_HERE)
    if summary.is_out_of_fold:
        for line in describe_epoch_choice(command.run_paths.run_dir, command.recipe.training.metric):
            print(line)
    print(f"\n{label_table(summary).to_string(float_format='%.3f')}")
    for gap in metrics.describe_excluded(torch.from_numpy(summary.truth[summary.has_truth]), summary.label_names):
        print(f"note: {gap}")
    for note in describe_events(summary):
        print(f"note: {note}")
    if summary.events is not None:
        print_event_metrics(command, summary, path)


def print_event_metrics(command: Command, summary: SubmissionSummary, path: Path) -> None:
    """Print and write how the windows of the submission at `path` compare with the events of the truth."""
    found = summarise_events(command, summary, path)
    if found is None:
        lacks = "has no windows of its own beside it, or none with a score (--min_score)"
        print(f"note: {path} {lacks}: there are no metrics of windows and events")
        return
    overlap = f"{command.recipe.training.min_overlap_s:g} s of an event, or all of a shorter one"
    print(f"\n{found.n_windows} windows; one has the labels of which it holds {overlap}\n")
    for name, value in found.windows.items():
        print(f"{name:<14} {value:.4f}")
    print(
        "\nevents: consecutive windows of a label, right where they begin and end as a true event does, within "
        f"{ONSET_COLLAR_S:g} s\n(the end also within {OFFSET_SHARE:.0%} of its length); segments: seconds with labels\n"
    )
    print(found.overall().to_string(float_format="%.4f"))
    table = found.per_label().set_axis(summary.label_names).rename_axis("label", axis=1)
    print(f"\n{table.to_string(float_format='%.3f')}")
    for note in found.notes:
        print(f"note: {note}")
    print(f"metrics of windows and events: {write_event_metrics(path.parent, found)}")


def label_table(summary: SubmissionSummary) -> pd.DataFrame:
    """Each label's clips, decisions, false positives and negatives, lwlrap, AP and F1, where the truth is known."""
    known = summary.has_truth
    truth, scores, decisions = map(
        torch.from_numpy, (each[known] for each in (summary.truth, summary.scores, summary.decisions))
    )
    table = metrics.per_label_table(truth, scores, decisions, summary.label_names)
    table.insert(1, "decided", decisions.sum(0).numpy())
    names = {"average_precision": "AP", "f1": "F1", "false_positives": "false", "false_negatives": "missed"}
    table = table.rename(columns=names)[["clips", "decided", "false", "missed", "lwlrap", "AP", "F1"]]
    return table.rename_axis(None).rename_axis("label", axis=1)


if __name__ == "__main__":
    run_script(main)
