"""A run's figures label by label, and which label is taken for which: the tables to read after training."""

import math
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from core.csv_tables import write_table
from train.evaluate import metrics

COLUMNS = ("label", "clips", "lwlrap", "average_precision", "f1", "false_positives", "false_negatives")


def write_per_label(path: Path, labels: Sequence[str], truth: Tensor, scores: Tensor) -> None:
    """Write COLUMNS of each label, from truth and scores [n_clips, n_labels], decided at 0.5.

    What is not defined is left empty.
    """
    decisions = scores >= 0.5
    values = [
        (truth >= 0.5).sum(0),
        metrics.lwlrap_per_class(truth, scores)[0],
        metrics.average_precision_per_class(truth, scores),
        metrics.f1_per_class(truth, decisions),
        metrics.false_positives(truth, decisions),
        metrics.false_negatives(truth, decisions),
    ]
    columns = [[_text(value) for value in column.tolist()] for column in values]
    write_table(path, COLUMNS, zip(labels, *columns, strict=True))


def write_confusion(path: Path, labels: Sequence[str], truth: Tensor, scores: Tensor) -> None:
    """Write how many clips of each label (a row) score highest on each label (a column)."""
    counts = metrics.confusion_matrix(truth, scores).tolist()
    write_table(path, ["label", *labels], ([label, *row] for label, row in zip(labels, counts, strict=True)))


def _text(value: float) -> str:
    if isinstance(value, int):
        return str(value)
    return "" if math.isnan(value) else f"{value:.4f}"
