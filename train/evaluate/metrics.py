"""Scores of scores: ranking, decisions and confusions, computed on tensors on whatever device they are.

`truth` and `scores` are `[n_clips, n_labels]`; truth counts as present from 0.5, decisions are 0/1 or booleans.
What is not defined is left out and never counted as zero: clips without labels by `lwlrap` and `accuracy`, absent
labels by the averages over labels. `describe_excluded` says which.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from preprocess.dataset.labels import is_single_label

METRICS = ("lwlrap", "map", "accuracy", "f1_micro", "f1_macro", "hamming")


def compute_metrics(truth: Tensor, scores: Tensor, threshold: float | Tensor = 0.5) -> dict[str, float]:
    """Every metric by name, in the order of METRICS; `accuracy` only where each clip has exactly one label.

    Decisions are made at one threshold, or at one a label `[n_labels]`.
    """
    decisions = scores >= threshold
    summary = {"lwlrap": lwlrap(truth, scores), "map": mean_average_precision(truth, scores)}
    if is_single_label(truth):
        summary["accuracy"] = accuracy(truth, scores)
    return summary | {
        "f1_micro": f1_micro(truth, decisions),
        "f1_macro": f1_macro(truth, decisions),
        "hamming": hamming_score(truth, decisions),
    }


def describe_excluded(truth: Tensor, labels: Sequence[str]) -> list[str]:
    """What the metrics leave out of this truth, in words; empty where nothing is."""
    excluded = []
    if unlabelled := int((_present(truth).sum(1) == 0).sum()):
        excluded.append(f"{unlabelled} clips without a label are left out of lwlrap, and are negatives elsewhere")
    absent = [label for label, found in zip(labels, _present(truth).any(0).tolist(), strict=True) if not found]
    if absent:
        excluded.append(f"labels no clip has are left out of map: {', '.join(absent)}")
    return excluded


def lwlrap(truth: Tensor, scores: Tensor) -> float:
    """Label-weighted label-ranking average precision: the mean precision at the rank of each label of each clip.

    scikit-learn's `label_ranking_average_precision_score` weighted by each clip's number of labels, of equal scores the
    worst rank; the metric of Freesound Audio Tagging 2019. NaN where no clip has a label.
    """
    present = _present(truth)
    return _mean(precision_at_rank(present, scores)[present])


def lwlrap_per_class(truth: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
    """Each label's part in lwlrap `[n_labels]`, NaN where no clip has it, and its weight: its share of all labels."""
    present = _present(truth)
    counts = present.sum(0)
    sums = torch.where(present, precision_at_rank(present, scores), 0).sum(0)
    return sums / counts, counts / counts.sum()


def average_precision_per_class(truth: Tensor, scores: Tensor) -> Tensor:
    """Average precision of each label over the clips `[n_labels]`, as scikit-learn's; NaN where no clip has it."""
    present = _present(truth).T.contiguous()
    precision = precision_at_rank(present, scores.T.contiguous())
    return torch.where(present, precision, 0).sum(1) / present.sum(1)


def mean_average_precision(truth: Tensor, scores: Tensor) -> float:
    """Average precision averaged over the labels that some clip has; NaN where none has any."""
    per_class = average_precision_per_class(truth, scores)
    return _mean(per_class[~per_class.isnan()])


def precision_at_rank(present: Tensor, scores: Tensor) -> Tensor:
    """For every score of a row: of the scores at least as high, the share that is present; float64."""
    ascending, order = (-scores).sort(dim=-1)
    hits = present.gather(-1, order).cumsum(-1)
    at_least = torch.searchsorted(ascending, -scores, right=True)
    return hits.gather(-1, at_least - 1).double() / at_least


def true_positives(truth: Tensor, decisions: Tensor) -> Tensor:
    """Clips rightly given each label `[n_labels]`."""
    return (_present(truth) & _present(decisions)).sum(0)


def false_positives(truth: Tensor, decisions: Tensor) -> Tensor:
    """Clips wrongly given each label `[n_labels]`."""
    return (~_present(truth) & _present(decisions)).sum(0)


def false_negatives(truth: Tensor, decisions: Tensor) -> Tensor:
    """Clips denied each label though they have it `[n_labels]`."""
    return (_present(truth) & ~_present(decisions)).sum(0)


def f1_per_class(truth: Tensor, decisions: Tensor) -> Tensor:
    """F1 of each label `[n_labels]`; NaN where it neither occurs nor is decided."""
    hits = 2 * true_positives(truth, decisions).double()
    return hits / (hits + false_positives(truth, decisions) + false_negatives(truth, decisions))


def f1_macro(truth: Tensor, decisions: Tensor) -> float:
    """F1 averaged over the labels where it is defined."""
    per_class = f1_per_class(truth, decisions)
    return _mean(per_class[~per_class.isnan()])


def f1_micro(truth: Tensor, decisions: Tensor) -> float:
    """F1 of all decisions together; NaN where nothing occurs and nothing is decided."""
    return float(f1_per_class(truth.reshape(-1, 1), decisions.reshape(-1, 1)))


def hamming_score(truth: Tensor, decisions: Tensor) -> float:
    """Share of right decisions. Deciding nothing at all scores high where labels are rare: read F1 beside it."""
    return _mean((_present(truth) == _present(decisions)).double())


def accuracy(truth: Tensor, scores: Tensor) -> float:
    """Share of the clips with exactly one label whose highest score is that label's; NaN where there are none."""
    single = _present(truth).sum(1) == 1
    return _mean((scores[single].argmax(1) == truth[single].argmax(1)).double())


def confusion_matrix(truth: Tensor, scores: Tensor) -> Tensor:
    """Clips with exactly one label, counted by label (row) and highest score (column): int64 `[n_labels, n_labels]`."""
    n_labels = truth.shape[1]
    single = _present(truth).sum(1) == 1
    cells = truth[single].argmax(1) * n_labels + scores[single].argmax(1)
    return torch.bincount(cells, minlength=n_labels * n_labels).reshape(n_labels, n_labels)


def _present(values: Tensor) -> Tensor:
    return values if values.dtype == torch.bool else values >= 0.5


def _mean(values: Tensor) -> float:
    return float(values.mean()) if values.numel() else float("nan")
