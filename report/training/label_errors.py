"""Which labels a run knows worst, and which it takes for which."""

from typing import Any

import numpy as np
import pandas as pd
import torch

from predict.output.summary import SubmissionSummary
from preprocess.dataset.labels import is_single_label
from report import summary as summaries
from train.evaluate.metrics import missed_for_given, per_label_table

MAX_PAIRS = 15


def label_metrics(summary: SubmissionSummary) -> pd.DataFrame:
    """A row a label, the worst first: clips, average precision, precision, recall, F1, threshold; NaN if undefined."""
    truth, scores, decisions = map(torch.from_numpy, (summary.truth, summary.scores, summary.decisions))
    table = per_label_table(truth, scores, decisions, summary.label_names).reset_index()
    hits = table["clips"] - table["false_negatives"]
    table["precision"] = hits / (hits + table["false_positives"])
    table["recall"] = hits / table["clips"]
    table["threshold"] = summary.thresholds.values
    return table.sort_values("average_precision", kind="stable")


def count_confusions(summary: SubmissionSummary) -> dict[str, Any]:
    """Of clips with one label each, by top-1 label; of others, by labels missed and labels wrongly given instead.

    `matrix` is [n_labels, n_labels], the right ones on the diagonal, or None of more labels than fit on a page; `pairs`
    are (label, other label, clips), the most frequent first; `description` says what is counted.
    """
    if is_single_label(summary.truth):
        matrix = summaries.confusion_matrix(summary)
        description = "Clips by their label (a row) and by top-1 label (a column)."
    else:
        matrix = missed_for_given(*map(torch.from_numpy, (summary.truth, summary.decisions))).numpy()
        description = (
            "Clips that miss a label (a row) and are wrongly given another (a column); on the diagonal, clips that are "
            "rightly given the label. A clip that misses two labels counts in both rows."
        )
    if matrix is None:  # no clip has a top-1 label
        matrix = np.zeros((len(summary.labels),) * 2, np.int64)
    pairs = summaries.most_confused(summary.label_names, matrix)[:MAX_PAIRS]
    shown = matrix.tolist() if len(matrix) <= summaries.MAX_LABELS_ON_PAGE else None
    return {"matrix": shown, "pairs": pairs, "description": description}
