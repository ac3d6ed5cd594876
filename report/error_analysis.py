"""Errors of a submission: the confusion matrix, and the clips with the highest losses."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from predict.output.summary import SubmissionSummary, true_labels
from preprocess.dataset.labels import is_single_label
from train.evaluate import metrics

EPSILON = 1e-7
"""Scores count as at least so far from 0 and 1, or one clip's loss would be infinite."""
MAX_LABELS_PRINTED, MAX_LABELS_ON_PAGE = 24, 60
"""Most labels of a confusion matrix in a terminal, and on a page."""


@dataclass(frozen=True)
class ClipLoss:
    """A clip with its true labels, its top-1 label, and its loss."""

    clip: str
    labels: str
    predicted_label: str
    score: float
    """Of the top-1 label."""
    loss: float
    correct: bool
    """Whether the top-1 label is true."""


def confusion_matrix(summary: SubmissionSummary) -> np.ndarray | None:
    """Clips with exactly one label, by label (row) and top-1 label (column); None where there is no such clip."""
    rows = summary.truth[summary.has_truth]
    if not (rows.sum(axis=1) == 1).any():
        return None
    return metrics.confusion_matrix(torch.from_numpy(rows), torch.from_numpy(summary.scores[summary.has_truth])).numpy()


def most_confused(labels: Sequence[str], matrix: np.ndarray) -> list[tuple[str, str, int]]:
    """(label, top-1 label instead, clips) of a confusion matrix, off its diagonal, the most frequent first."""
    cells = np.argwhere(matrix * ~np.eye(len(labels), dtype=bool)).tolist()
    wrong = [(labels[true], labels[predicted], int(matrix[true, predicted])) for true, predicted in cells]
    return sorted(wrong, key=lambda pair: (-pair[2], pair[:2]))


def clip_losses(summary: SubmissionSummary) -> np.ndarray:
    """Cross-entropy [n_clips], NaN where the truth is not known.

    Where every known clip has one label, of that label's score; otherwise binary, summed over the labels.
    """
    scores = np.clip(summary.scores.astype(np.float64), EPSILON, 1 - EPSILON)
    present = summary.truth > 0.5
    cost = -np.log(np.where(present, scores, 1 - scores))
    if is_single_label(torch.from_numpy(summary.truth[summary.has_truth])):
        cost = np.where(present, cost, 0)
    return np.where(summary.has_truth, cost.sum(axis=1), np.nan)


def top_losses(summary: SubmissionSummary, count: int) -> list[ClipLoss]:
    """The clips with the highest losses, the highest first."""
    loss = clip_losses(summary)
    predicted = summary.scores.argmax(axis=1)
    order = np.argsort(-np.where(summary.has_truth, loss, -np.inf), kind="stable")
    order = order[: min(count, summary.has_truth.sum())]
    return [
        ClipLoss(
            summary.clips[row],
            ", ".join(true_labels(summary, row)) or "none of the labels",
            summary.labels[predicted[row]],
            float(summary.top_scores[row]),
            float(loss[row]),
            bool(summary.truth[row, predicted[row]] > 0.5),
        )
        for row in order.tolist()
    ]


def format_errors(summary: SubmissionSummary, count: int) -> str:
    """Confusion matrix and top losses for a terminal; '' where no truth is known."""
    lines: list[str] = []
    matrix = confusion_matrix(summary)
    if matrix is not None and len(summary.labels) <= MAX_LABELS_PRINTED:
        lines += ["", "clips by label (a row) and by top-1 label (a column):", *_matrix_lines(summary, matrix)]
    if losses := top_losses(summary, count):
        lines += ["", "highest losses:"]
        lines += [
            f"  {each.loss:7.3f}  {each.clip}  {each.predicted_label} {each.score:.3f}  (is {each.labels})"
            for each in losses
        ]
    return "\n".join(lines)


def _matrix_lines(summary: SubmissionSummary, matrix: np.ndarray) -> list[str]:
    """The matrix in columns that are numbered as its rows are."""
    width = max(map(len, summary.labels))
    cell = max(len(str(matrix.max())), len(str(len(summary.labels))))
    heads = " ".join(f"{number:>{cell}}" for number in range(1, len(summary.labels) + 1))
    return [
        f"  {'':>{cell}}  {'':<{width}}  {heads}",
        *(
            f"  {number:>{cell}}  {label:<{width}}  " + " ".join(f"{count or '·':>{cell}}" for count in counts)
            for number, (label, counts) in enumerate(zip(summary.labels, matrix.tolist(), strict=True), 1)
        ),
    ]
