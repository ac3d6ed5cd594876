"""Metrics of rankings and decisions, and confusions, on tensors of any device.

`truth` and `scores` are `[n_clips, n_labels]`; truth counts as present from 0.5, decisions are 0/1 or booleans.
Undefined values are left out, not counted as zero: clips without labels by `lwlrap` and `accuracy`, absent labels by
the averages over labels. `describe_excluded` says which.
"""

from collections.abc import Sequence

import pandas as pd
import torch
from torch import Tensor

from preprocess.dataset.labels import is_single_label

METRICS = ("lwlrap", "map", "accuracy", "f1_micro", "f1_macro", "hamming")


def compute_metrics(truth: Tensor, scores: Tensor, threshold: float | Tensor = 0.5) -> dict[str, float]:
    """Every metric by name, in the order of METRICS; `accuracy` only where each clip has exactly one label.

    Decisions are made at one threshold, or at one a label `[n_labels]`.
    """
    decisions = scores >= threshold
    values = {"lwlrap": lwlrap(truth, scores), "map": mean_average_precision(truth, scores)}
    if is_single_label(truth):
        values["accuracy"] = accuracy(truth, scores)
    decision_metrics = {"f1_micro": f1_micro, "f1_macro": f1_macro, "hamming": hamming_score}
    return values | {name: metric(truth, decisions) for name, metric in decision_metrics.items()}


def describe_excluded(truth: Tensor, labels: Sequence[str]) -> list[str]:
    """What the metrics leave out of this truth, in words; empty for nothing."""
    excluded = []
    if unlabelled := int((_present(truth).sum(1) == 0).sum()):
        excluded.append(f"{unlabelled} clips without a label are left out of lwlrap, and are negatives elsewhere")
    absent = [label for label, found in zip(labels, _present(truth).any(0).tolist(), strict=True) if not found]
    if absent:
        excluded.append(f"labels no clip has are left out of map: {', '.join(absent)}")
    return excluded


def lwlrap(truth: Tensor, scores: Tensor) -> float:
    """Label-weighted label-ranking average precision: the mean precision at the rank of each label of each clip.

    scikit-learn's `label_ranking_average_precision_score` weighted by each clip's number of labels; equal scores have
    the worst rank. The metric of Freesound Audio Tagging 2019. NaN where no clip has a label.
    """
    present = _present(truth)
    return float(precision_at_rank(present, scores)[present].mean())


def lwlrap_per_class(truth: Tensor, scores: Tensor) -> Tensor:
    """Mean precision at each label's ranks `[n_labels]`, NaN where no clip has it."""
    present = _present(truth)
    return torch.where(present, precision_at_rank(present, scores), 0).sum(0) / present.sum(0)


def average_precision_per_class(truth: Tensor, scores: Tensor) -> Tensor:
    """Average precision of each label over the clips `[n_labels]`, as scikit-learn's; NaN where no clip has it."""
    present = _present(truth).T.contiguous()
    precision = precision_at_rank(present, scores.T.contiguous())
    return torch.where(present, precision, 0).sum(1) / present.sum(1)


def mean_average_precision(truth: Tensor, scores: Tensor) -> float:
    """Average precision averaged over the labels that some clip has; NaN where none has any."""
    return float(average_precision_per_class(truth, scores).nanmean())


def precision_at_rank(present: Tensor, scores: Tensor) -> Tensor:
    """For every score of a row, the share of present ones among the scores at least as high; float64."""
    ascending, order = (-scores).sort(dim=-1)
    hits = present.gather(-1, order).cumsum(-1)
    at_least = torch.searchsorted(ascending, -scores, right=True)
    return hits.gather(-1, at_least - 1).double() / at_least


def false_positives(truth: Tensor, decisions: Tensor) -> Tensor:
    """Clips by label `[n_labels]` that are given it and do not have it."""
    return (~_present(truth) & _present(decisions)).sum(0)


def false_negatives(truth: Tensor, decisions: Tensor) -> Tensor:
    """Clips by label `[n_labels]` that have it and are not given it."""
    return (_present(truth) & ~_present(decisions)).sum(0)


def f1_per_class(truth: Tensor, decisions: Tensor) -> Tensor:
    """F1 of each label `[n_labels]`; NaN where it neither occurs nor is decided."""
    hits = 2 * (_present(truth) & _present(decisions)).sum(0).double()
    return hits / (hits + false_positives(truth, decisions) + false_negatives(truth, decisions))


def f1_macro(truth: Tensor, decisions: Tensor) -> float:
    """F1 averaged over the labels where it is defined."""
    return float(f1_per_class(truth, decisions).nanmean())


def f1_micro(truth: Tensor, decisions: Tensor) -> float:
    """F1 of all decisions together; NaN where nothing occurs and nothing is decided."""
    return float(f1_per_class(truth.reshape(-1, 1), decisions.reshape(-1, 1)))


def hamming_score(truth: Tensor, decisions: Tensor) -> float:
    """Share of right decisions; where labels are rare it is high without any decision for one, so compare F1."""
    return float((_present(truth) == _present(decisions)).double().mean())


def accuracy(truth: Tensor, scores: Tensor) -> float:
    """Share of the clips with exactly one label whose highest score is that label's; NaN where there are none.

    No label is the highest of a clip whose scores are all 0.
    """
    single = _present(truth).sum(1) == 1
    highest, predicted = scores[single].max(1)
    return float(((predicted == truth[single].argmax(1)) & (highest > 0)).double().mean())


def per_label_table(truth: Tensor, scores: Tensor, decisions: Tensor, labels: Sequence[str]) -> pd.DataFrame:
    """A row a label: clips that have it, false decisions, and its metrics, NaN where they are not defined."""
    columns = {
        "clips": _present(truth).sum(0),
        "lwlrap": lwlrap_per_class(truth, scores),
        "average_precision": average_precision_per_class(truth, scores),
        "f1": f1_per_class(truth, decisions),
        "false_positives": false_positives(truth, decisions),
        "false_negatives": false_negatives(truth, decisions),
    }
    table = pd.DataFrame({name: column.numpy() for name, column in columns.items()}, index=list(labels))
    return table.rename_axis("label")


def confusion_matrix(truth: Tensor, scores: Tensor) -> Tensor:
    """Clips with exactly one label, counted by label (row) and highest score (column): int64 `[n_labels, n_labels]`.

    A clip whose scores are all 0 is not counted.
    """
    n_labels = truth.shape[1]
    single = (_present(truth).sum(1) == 1) & (scores.amax(1) > 0)
    cells = truth[single].argmax(1) * n_labels + scores[single].argmax(1)
    return torch.bincount(cells, minlength=n_labels * n_labels).reshape(n_labels, n_labels)


def missed_for_given(truth: Tensor, decisions: Tensor) -> Tensor:
    """Clips that miss a label (row) and are wrongly given another (column); on the diagonal, clips rightly given a
    label: int64 `[n_labels, n_labels]`.
    """
    present, given = _present(truth), _present(decisions)
    instead = (present & ~given).double().T @ (given & ~present).double()
    return (instead + torch.diag((present & given).sum(0))).long()


def _present(values: Tensor) -> Tensor:
    return values if values.dtype == torch.bool else values >= 0.5
