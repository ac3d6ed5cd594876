"""Thresholds that make the most of a metric on clips whose truth is known."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from predict.decide.thresholds import DEFAULT
from train.evaluate.metrics import f1_macro, f1_micro, hamming_score

Metric = Literal["f1_micro", "f1_macro", "hamming"]
METRICS: dict[Metric, Callable[[Tensor, Tensor], float]] = {
    "f1_micro": f1_micro,
    "f1_macro": f1_macro,
    "hamming": hamming_score,
}
CANDIDATES = 512
"""Thresholds tried of a label: just below each score of a clip that has it, or at quantiles of more."""
PASSES = 10


@dataclass(frozen=True)
class Counts:
    """For every label and candidate threshold, what would be decided. Arrays [n_labels, n_candidates]."""

    hits: np.ndarray
    """Clips rightly given the label."""
    false: np.ndarray
    """Clips wrongly given it."""
    present: np.ndarray
    """Clips that have it [n_labels, 1]."""
    n_clips: int

    def score(self, metric: Metric, hits: np.ndarray, false: np.ndarray) -> np.ndarray:
        """The metric [...] of decisions with these counts [n_labels, ...], labels first."""
        present = self.present.reshape(-1, *[1] * (hits.ndim - 1))
        if metric == "hamming":
            wrong = (false + present - hits).sum(axis=0)
            return 1 - wrong / (self.n_clips * len(present))
        if metric == "f1_micro":
            return 2 * hits.sum(axis=0) / np.maximum((hits + false + present).sum(axis=0), 1)
        defined = (hits + false + present) > 0
        f1 = 2 * hits / np.maximum(hits + false + present, 1)
        return f1.sum(axis=0) / np.maximum(defined.sum(axis=0), 1)


@dataclass(frozen=True)
class Choice:
    """What clips are decided by: a threshold a label on their scores, and of what windows count as having a label."""

    window_threshold: float
    values: np.ndarray
    """float32 [n_labels]"""


Pooled = Mapping[float, np.ndarray]
"""Scores [n_clips, n_labels] of the same clips, pooled by each window threshold that is tried."""


def tune_together(pooled: Pooled, truth: np.ndarray, metric: Metric, *, per_label: bool) -> Choice:
    """The window threshold and the thresholds that together make the most of `metric`.

    Of equally good window thresholds, the one nearest to 0.5.
    """
    choices = [
        Choice(at, tune(pooled[at], truth, metric, per_label=per_label))
        for at in sorted(pooled, key=lambda at: abs(at - DEFAULT))
    ]
    return max(choices, key=lambda choice: measure(metric, truth, pooled[choice.window_threshold] >= choice.values))


def decide_across(
    pooled: Pooled, truth: np.ndarray, folds: np.ndarray, metric: Metric, *, per_label: bool
) -> np.ndarray:
    """Decisions [n_clips, n_labels] on each fold's clips by what was tuned on the other folds', of which there are."""
    decisions = np.zeros(truth.shape, bool)
    for fold in np.unique(folds):
        here = folds == fold
        others = ~here
        rest = {at: scores[others] for at, scores in pooled.items()}
        choice = tune_together(rest, truth[others], metric, per_label=per_label)
        decisions[here] = pooled[choice.window_threshold][here] >= choice.values
    return decisions


def measure(metric: Metric, truth: np.ndarray, decisions: np.ndarray) -> float:
    """The metric of decisions [n_clips, n_labels]."""
    return METRICS[metric](torch.from_numpy(truth), torch.from_numpy(decisions))


def tune(scores: np.ndarray, truth: np.ndarray, metric: Metric, *, per_label: bool) -> np.ndarray:
    """Thresholds [n_labels] that make the most of `metric` on scores float32 and truth [n_clips, n_labels].

    One for all labels; or from there one a label in turn, as long as any of them gains. A label that no clip has
    keeps the common one. Of equally good thresholds, the one nearest to 0.5.
    """
    common = np.unique(_candidates(scores, truth))
    together = _count(scores, truth, np.broadcast_to(common, (scores.shape[1], len(common))))
    best = common[_best(together.score(metric, together.hits, together.false), common)]
    values = np.full(scores.shape[1], best)
    return _tune_each(scores, truth, metric, values) if per_label else values


def _tune_each(scores: np.ndarray, truth: np.ndarray, metric: Metric, values: np.ndarray) -> np.ndarray:
    """Thresholds a label, each the best while the others stay, from `values` on."""
    columns = zip(scores.T, truth.T, values, strict=True)
    own = np.stack([np.append(_candidates(column, having), value) for column, having, value in columns])
    counts = _count(scores, truth, own)
    chosen = np.full(len(own), own.shape[1] - 1)
    labels = np.flatnonzero(counts.present[:, 0])
    for _ in range(PASSES):
        before = chosen.copy()
        for label in labels:
            every = np.arange(len(own))
            hits = np.repeat(counts.hits[every, chosen][:, None], own.shape[1], axis=1)
            false = np.repeat(counts.false[every, chosen][:, None], own.shape[1], axis=1)
            hits[label], false[label] = counts.hits[label], counts.false[label]
            chosen[label] = _best(counts.score(metric, hits, false), own[label])
        if (chosen == before).all():
            break
    return own[np.arange(len(own)), chosen]


def _candidates(scores: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """CANDIDATES thresholds float32, some of which may be equal: DEFAULT and 1, the others just below scores of
    clips that have the label, or above all.

    From one such score up to the next, a higher threshold only spares clips that have not the label, so that no
    metric is better elsewhere.
    """
    ordered = np.unique(np.append(scores, [0.0, 1.0]).astype(np.float32))
    lower, upper = ordered[:-1], ordered[1:]
    middles = ((lower.astype(np.float64) + upper) / 2).astype(np.float32)
    # Between neighbouring floats there is none, and rounding may give the lower one, which is to stay out.
    below = np.append(np.float32(0), np.where(middles > lower, middles, upper))
    having = np.append(scores[truth > 0.5], 1.0).astype(np.float32)
    tried = below[np.searchsorted(ordered, having)]
    spread = np.quantile(tried, np.linspace(0, 1, CANDIDATES - 2), method="nearest")
    return np.append(spread, [DEFAULT, 1.0]).astype(np.float32)


def _count(scores: np.ndarray, truth: np.ndarray, thresholds: np.ndarray) -> Counts:
    """What would be decided at `thresholds` [n_labels, n_candidates]."""
    hits, given = np.empty(thresholds.shape, np.int64), np.empty(thresholds.shape, np.int64)
    for label, candidates in enumerate(thresholds):
        having = np.sort(scores[truth[:, label] > 0.5, label].astype(np.float64))
        every = np.sort(scores[:, label].astype(np.float64))
        hits[label] = len(having) - np.searchsorted(having, candidates)
        given[label] = len(every) - np.searchsorted(every, candidates)
    present = (truth > 0.5).sum(axis=0)[:, None]
    return Counts(hits, given - hits, present, len(scores))


def _best(values: np.ndarray, thresholds: np.ndarray) -> int:
    """The threshold of the highest value; of equals, the one nearest to DEFAULT."""
    highest = np.flatnonzero(values >= values.max() - 1e-12)
    return int(highest[np.abs(thresholds[highest] - DEFAULT).argmin()])
