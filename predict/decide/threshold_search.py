"""Thresholds that make the most of a metric on clips whose truth is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from predict.decide.thresholds import DEFAULT_THRESHOLD
from train.evaluate.metrics import f1_macro, f1_micro, hamming_score

Metric = Literal["f1_micro", "f1_macro", "hamming"]
METRICS: dict[Metric, Callable[[Tensor, Tensor], float]] = {
    "f1_micro": f1_micro,
    "f1_macro": f1_macro,
    "hamming": hamming_score,
}
N_CANDIDATES = 512
"""Thresholds tried of a label: just below each score of a clip that has it, or at quantiles of more."""
MAX_PASSES = 10


@dataclass(frozen=True)
class DecisionCounts:
    """For every label and candidate threshold, what would be decided. Arrays [n_labels, n_candidates]."""

    true_positives: np.ndarray
    """Clips rightly given the label."""
    false_positives: np.ndarray
    """Clips wrongly given it."""
    present: np.ndarray
    """Clips that have it [n_labels, 1]."""
    n_clips: int

    def score(self, metric: Metric, true_positives: np.ndarray, false_positives: np.ndarray) -> np.ndarray:
        """The metric [...] of decisions with these counts [n_labels, ...], labels first."""
        present = self.present.reshape(-1, *[1] * (true_positives.ndim - 1))
        if metric == "hamming":
            wrong = (false_positives + present - true_positives).sum(axis=0)
            return 1 - wrong / (self.n_clips * len(present))
        if metric == "f1_micro":
            return (
                2 * true_positives.sum(axis=0) / np.maximum((true_positives + false_positives + present).sum(axis=0), 1)
            )
        defined = (true_positives + false_positives + present) > 0
        f1 = 2 * true_positives / np.maximum(true_positives + false_positives + present, 1)
        return f1.sum(axis=0) / np.maximum(defined.sum(axis=0), 1)


@dataclass(frozen=True)
class TunedThresholds:
    """What clips are decided by: a threshold a label on their scores, and of what windows count as having a label."""

    window_threshold: float
    values: np.ndarray
    """float32 [n_labels]"""


ScoresAtThreshold = Mapping[float, np.ndarray]
"""Scores [n_clips, n_labels] of the same clips, pooled by each window threshold that is tried."""


def search_with_window_threshold(
    scores_at: ScoresAtThreshold, truth: np.ndarray, metric: Metric, *, per_label: bool
) -> TunedThresholds:
    """The window threshold and the thresholds that together make the most of `metric`.

    Of equally good window thresholds, the one nearest to 0.5.
    """
    candidates = [
        TunedThresholds(at, search_thresholds(scores_at[at], truth, metric, per_label=per_label))
        for at in sorted(scores_at, key=lambda at: abs(at - DEFAULT_THRESHOLD))
    ]
    return max(
        candidates, key=lambda tuned: compute_metric(metric, truth, scores_at[tuned.window_threshold] >= tuned.values)
    )


def cross_fit_decisions(
    scores_at: ScoresAtThreshold, truth: np.ndarray, folds: np.ndarray, metric: Metric, *, per_label: bool
) -> np.ndarray:
    """Decisions [n_clips, n_labels] on each fold's clips by what was tuned on the other folds', of which there are."""
    decisions = np.zeros(truth.shape, bool)
    for fold in np.unique(folds):
        in_fold = folds == fold
        others = ~in_fold
        rest = {at: scores[others] for at, scores in scores_at.items()}
        tuned = search_with_window_threshold(rest, truth[others], metric, per_label=per_label)
        decisions[in_fold] = scores_at[tuned.window_threshold][in_fold] >= tuned.values
    return decisions


def compute_metric(metric: Metric, truth: np.ndarray, decisions: np.ndarray) -> float:
    """The metric of decisions [n_clips, n_labels]."""
    return METRICS[metric](torch.from_numpy(truth), torch.from_numpy(decisions))


def search_thresholds(scores: np.ndarray, truth: np.ndarray, metric: Metric, *, per_label: bool) -> np.ndarray:
    """Thresholds [n_labels] that make the most of `metric` on scores float32 and truth [n_clips, n_labels].

    One for all labels; or from there one a label in turn, as long as any of them gains. A label that no clip has
    keeps the common one. Of equally good thresholds, the one nearest to 0.5.
    """
    common = np.unique(_candidates(scores, truth))
    together = _count_decisions(scores, truth, np.broadcast_to(common, (scores.shape[1], len(common))))
    best = common[_argbest(together.score(metric, together.true_positives, together.false_positives), common)]
    values = np.full(scores.shape[1], best)
    return _search_per_label(scores, truth, metric, values) if per_label else values


def _search_per_label(scores: np.ndarray, truth: np.ndarray, metric: Metric, values: np.ndarray) -> np.ndarray:
    """Thresholds a label, each the best while the others stay, from `values` on."""
    columns = zip(scores.T, truth.T, values, strict=True)
    own = np.stack([np.append(_candidates(column, positives), value) for column, positives, value in columns])
    counts = _count_decisions(scores, truth, own)
    chosen = np.full(len(own), own.shape[1] - 1)
    labels = np.flatnonzero(counts.present[:, 0])
    for _ in range(MAX_PASSES):
        before = chosen.copy()
        for label in labels:
            every = np.arange(len(own))
            true_positives = np.repeat(counts.true_positives[every, chosen][:, None], own.shape[1], axis=1)
            false_positives = np.repeat(counts.false_positives[every, chosen][:, None], own.shape[1], axis=1)
            true_positives[label], false_positives[label] = counts.true_positives[label], counts.false_positives[label]
            chosen[label] = _argbest(counts.score(metric, true_positives, false_positives), own[label])
        if (chosen == before).all():
            break
    return own[np.arange(len(own)), chosen]


def _candidates(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """N_CANDIDATES thresholds float32, some of which may be equal: DEFAULT_THRESHOLD and 1, the others just below
    scores of clips that have the label, or above all.

    From one such score up to the next, a higher threshold only spares clips that have not the label, so that no
    metric is better elsewhere.
    """
    ordered = np.unique(np.append(scores, [0.0, 1.0]).astype(np.float32))
    lower, upper = ordered[:-1], ordered[1:]
    middles = ((lower.astype(np.float64) + upper) / 2).astype(np.float32)
    # Between neighbouring floats there is none, and rounding may give the lower one, which is to stay out.
    below = np.append(np.float32(0), np.where(middles > lower, middles, upper))
    positives = np.append(scores[truth > 0.5], 1.0).astype(np.float32)
    tried = below[np.searchsorted(ordered, positives)]
    spread = np.quantile(tried, np.linspace(0, 1, N_CANDIDATES - 2), method="nearest")
    return np.append(spread, [DEFAULT_THRESHOLD, 1.0]).astype(np.float32)


def _count_decisions(scores: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> DecisionCounts:
    """What would be decided at `thresholds` [n_labels, n_candidates]."""
    true_positives, given = np.empty(thresholds.shape, np.int64), np.empty(thresholds.shape, np.int64)
    for label, candidates in enumerate(thresholds):
        positives = np.sort(scores[truth[:, label] > 0.5, label].astype(np.float64))
        every = np.sort(scores[:, label].astype(np.float64))
        true_positives[label] = len(positives) - np.searchsorted(positives, candidates)
        given[label] = len(every) - np.searchsorted(every, candidates)
    present = (truth > 0.5).sum(axis=0)[:, None]
    return DecisionCounts(true_positives, given - true_positives, present, len(scores))


def _argbest(values: np.ndarray, thresholds: np.ndarray) -> int:
    """The threshold of the highest value; of equals, the one nearest to DEFAULT_THRESHOLD."""
    highest = np.flatnonzero(values >= values.max() - 1e-12)
    return int(highest[np.abs(thresholds[highest] - DEFAULT_THRESHOLD).argmin()])
