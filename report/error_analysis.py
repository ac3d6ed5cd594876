"""Where a submission errs: which label is taken for which, and the clips of the highest loss."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from predict.output.summary import Findings, true_labels
from preprocess.dataset.labels import is_single_label
from train.evaluate.metrics import confusion

LEAST = 1e-7
"""Scores count as at least so far from 0 and 1, or one clip's loss would be infinite."""
MOST_PRINTED, MOST_SHOWN = 24, 60
"""Labels of a confusion matrix that a terminal, and a page, have room for."""


@dataclass(frozen=True)
class Loss:
    """A clip, what it is, what it was taken for, and what that costs."""

    clip: str
    labels: str
    winner: str
    score: float
    """Of the label that wins."""
    loss: float
    right: bool
    """Whether the winner is one of its labels."""


def confusion_matrix(findings: Findings) -> np.ndarray | None:
    """Clips with exactly one label, by label (row) and label that wins (column); None where there is no such clip."""
    rows = findings.truth[findings.known]
    if not (rows.sum(axis=1) == 1).any():
        return None
    return confusion(torch.from_numpy(rows), torch.from_numpy(findings.scores[findings.known])).numpy()


def confusions(labels: Sequence[str], matrix: np.ndarray) -> list[tuple[str, str, int]]:
    """(label, label that wins instead, clips) of a confusion matrix, off its diagonal, the most frequent first."""
    cells = np.argwhere(matrix * ~np.eye(len(labels), dtype=bool)).tolist()
    wrong = [(labels[true], labels[said], int(matrix[true, said])) for true, said in cells]
    return sorted(wrong, key=lambda pair: (-pair[2], pair[:2]))


def losses(findings: Findings) -> np.ndarray:
    """Cross-entropy [n_clips], NaN where the truth is not known.

    Where every known clip has one label, of that label's score; otherwise binary, summed over the labels.
    """
    scores = np.clip(findings.scores.astype(np.float64), LEAST, 1 - LEAST)
    present = findings.truth > 0.5
    cost = -np.log(np.where(present, scores, 1 - scores))
    if is_single_label(torch.from_numpy(findings.truth[findings.known])):
        cost = np.where(present, cost, 0)
    return np.where(findings.known, cost.sum(axis=1), np.nan)


def top_losses(findings: Findings, count: int) -> list[Loss]:
    """The clips of the highest loss: mistakes first, the surest of them before the others."""
    loss = losses(findings)
    winners = findings.scores.argmax(axis=1)
    order = np.argsort(-np.where(findings.known, loss, -np.inf), kind="stable")[: min(count, findings.known.sum())]
    return [
        Loss(
            findings.clips[row],
            ", ".join(true_labels(findings, row)) or "none of the labels",
            findings.labels[winners[row]],
            float(findings.top[row]),
            float(loss[row]),
            bool(findings.truth[row, winners[row]] > 0.5),
        )
        for row in order.tolist()
    ]


def describe_mistakes(findings: Findings, count: int) -> str:
    """Confusion matrix and top losses for a terminal; '' where no truth is known."""
    lines: list[str] = []
    matrix = confusion_matrix(findings)
    if matrix is not None and len(findings.labels) <= MOST_PRINTED:
        lines += ["", "clips by label (a row) and by the label that wins (a column):", *_matrix_lines(findings, matrix)]
    if top := top_losses(findings, count):
        lines += ["", "highest losses:"]
        lines += [
            f"  {each.loss:7.3f}  {each.clip}  {each.winner} {each.score:.3f}  (is {each.labels})" for each in top
        ]
    return "\n".join(lines)


def _matrix_lines(findings: Findings, matrix: np.ndarray) -> list[str]:
    """The matrix in columns that are numbered as its rows are."""
    width = max(map(len, findings.labels))
    cell = max(len(str(matrix.max())), len(str(len(findings.labels))))
    heads = " ".join(f"{number:>{cell}}" for number in range(1, len(findings.labels) + 1))
    return [
        f"  {'':>{cell}}  {'':<{width}}  {heads}",
        *(
            f"  {number:>{cell}}  {label:<{width}}  " + " ".join(f"{count or '·':>{cell}}" for count in counts)
            for number, (label, counts) in enumerate(zip(findings.labels, matrix.tolist(), strict=True), 1)
        ),
    ]
