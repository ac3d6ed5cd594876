"""Thresholds that maximise a metric on clips whose truth is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from recipe.prediction import DEFAULT_THRESHOLD
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
    """Decisions for every label and candidate threshold, counted over `n_clips`."""

    given: np.ndarray
    """[2, n_labels, n_candidates]: clips rightly given the label, and all clips given it."""
    present: np.ndarray
    """Clips that have the label [n_labels]."""
    n_clips: int

    def score(self, metric: Metric, given: np.ndarray) -> np.ndarray:
        """The metric [n] of decisions with counts `given` [2, n_labels, n]."""
        right, total = given[0], given[1] + self.present[:, None]
        if metric == "hamming":
            return 1 - (total - 2 * right).sum(axis=0) / (self.n_clips * len(total))
        if metric == "f1_micro":
            return 2 * right.sum(axis=0) / np.maximum(total.sum(axis=0), 1)
        return (2 * right / np.maximum(total, 1)).sum(axis=0) / np.maximum((total > 0).sum(axis=0), 1)


ScoresAtThreshold = Mapping[float, np.ndarray]
"""Scores [n_clips, n_labels] of the same clips, pooled by each window threshold that is tried."""


def search_with_window_threshold(
    scores_at: ScoresAtThreshold, truth: np.ndarray, metric: Metric, *, per_label: bool
) -> tuple[float, np.ndarray]:
    """The threshold above which a window counts, and thresholds float32 [n_labels], that together maximise `metric`.

    Of equally good window thresholds, the one nearest to 0.5.
    """
    candidates = [
        (at, search_thresholds(scores_at[at], truth, metric, per_label=per_label))
        for at in sorted(scores_at, key=lambda at: abs(at - DEFAULT_THRESHOLD))
    ]
    return max(candidates, key=lambda pair: compute_metric(metric, truth, scores_at[pair[0]] >= pair[1]))


def cross_fit_decisions(
    scores_at: ScoresAtThreshold, truth: np.ndarray, folds: np.ndarray, metric: Metric, *, per_label: bool
) -> np.ndarray:
    """Decisions [n_clips, n_labels] on each fold's clips by thresholds tuned on the clips of the other folds."""
    decisions = np.zeros(truth.shape, bool)
    for fold in np.unique(folds):
        in_fold = folds == fold
        rest = {at: scores[~in_fold] for at, scores in scores_at.items()}
        at, thresholds = search_with_window_threshold(rest, truth[~in_fold], metric, per_label=per_label)
        decisions[in_fold] = scores_at[at][in_fold] >= thresholds
    return decisions


def compute_metric(metric: Metric, truth: np.ndarray, decisions: np.ndarray) -> float:
    """The metric of decisions [n_clips, n_labels]."""
    return METRICS[metric](torch.from_numpy(truth), torch.from_numpy(decisions))


def search_thresholds(scores: np.ndarray, truth: np.ndarray, metric: Metric, *, per_label: bool) -> np.ndarray:
    """Thresholds [n_labels] that maximise `metric` on scores float32 and truth [n_clips, n_labels].

    One for all labels; or from there one a label in turn, as long as any of them gains. A label that no clip has
    keeps the common one. Of equally good thresholds, the one nearest to 0.5.
    """
    common = np.unique(_candidates(scores, truth))
    together = count_decisions(scores, truth, np.broadcast_to(common, (scores.shape[1], len(common))))
    best = common[_argbest(together.score(metric, together.given), common)]
    values = np.full(scores.shape[1], best)
    return _search_per_label(scores, truth, metric, values) if per_label else values


def _search_per_label(scores: np.ndarray, truth: np.ndarray, metric: Metric, values: np.ndarray) -> np.ndarray:
    """Thresholds a label, each the best while the others stay, from `values` on."""
    columns = zip(scores.T, truth.T, values, strict=True)
    own = np.stack([np.append(_candidates(column, positives), value) for column, positives, value in columns])
    counts = count_decisions(scores, truth, own)
    n_labels, n_candidates = own.shape
    every, chosen = np.arange(n_labels), np.full(n_labels, n_candidates - 1)
    for _ in range(MAX_PASSES):
        before = chosen.copy()
        for label in np.flatnonzero(counts.present):
            given = np.repeat(counts.given[:, every, chosen, None], n_candidates, axis=2)
            given[:, label] = counts.given[:, label]
            chosen[label] = _argbest(counts.score(metric, given), own[label])
        if (chosen == before).all():
            break
    return own[every, chosen]


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


def count_decisions(scores: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> DecisionCounts:
    """The counts at `thresholds` [n_labels, n_candidates]."""
    given = np.empty((2, *thresholds.shape), np.int64)
    for label, candidates in enumerate(thresholds):
        every = scores[:, label].astype(np.float64)
        for counts, counted in zip(given[:, label], (every[truth[:, label] > 0.5], every), strict=True):
            counts[:] = len(counted) - np.searchsorted(np.sort(counted), candidates)
    return DecisionCounts(given, (truth > 0.5).sum(axis=0), len(scores))


def _argbest(values: np.ndarray, thresholds: np.ndarray) -> int:
    """The threshold of the highest value; of equals, the one nearest to DEFAULT_THRESHOLD."""
    highest = np.flatnonzero(values >= values.max() - 1e-12)
    return int(highest[np.abs(thresholds[highest] - DEFAULT_THRESHOLD).argmin()])
