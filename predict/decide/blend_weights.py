"""Score tables of several runs: matched by names, blended by weights, and the weights that fit the truth best."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd

from core.errors import UserError
from train.evaluate.score_table import ScoreTable

EPSILON = 1e-6
"""The least distance of a score from 0 and 1 in logarithms."""


def _mean(scores: np.ndarray, weights: np.ndarray) -> np.ndarray:
    return np.tensordot(weights, scores, 1)


def _rank(scores: np.ndarray) -> np.ndarray:
    from scipy.stats import rankdata  # it takes half a second to import

    return np.asarray(rankdata(scores, axis=1) / scores.shape[1])


BLEND_FUNCTIONS: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "mean": _mean,
    "geometric": lambda scores, weights: np.exp(_mean(np.log(np.maximum(scores, EPSILON)), weights)),
    "rank": lambda scores, weights: _mean(_rank(scores), weights),
}
"""Functions of scores [n_tables, n_clips, n_labels] and weights [n_tables] that add up to 1.

Ranks are those of each label's scores among the clips, from just above 0 to 1.
"""


def align_tables(names: Sequence[str], tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """The tables in the rows and columns of the first. Raises UserError for a clip or label that some lack."""
    first, aligned = tables[0], []
    for name, table in zip(names, tables, strict=True):
        for kind, mine, theirs in (("clip", first.clips, table.clips), ("label", first.labels, table.labels)):
            if odd := sorted(set(mine) ^ set(theirs)):
                lacks, has = (names[0], name) if odd[0] in theirs else (name, names[0])
                raise UserError(
                    f"{lacks} has no scores of {kind} {odd[0]!r}, which {has} has: train and predict both on one DATA="
                )
        values = pd.DataFrame(table.values, table.clips, table.labels).loc[first.clips, first.labels]
        # A copy in rows: of pandas' own arrays PyTorch warns, for they are read-only and may lie in columns.
        aligned.append(ScoreTable(first.clips, first.labels, np.array(values, order="C")))
    return aligned


def blend_tables(tables: Sequence[np.ndarray], by: str, weights: np.ndarray) -> np.ndarray:
    """One table of scores float32 [n_clips, n_labels] from several."""
    return np.clip(BLEND_FUNCTIONS[by](np.stack(tables).astype(np.float64), weights), 0, 1).astype(np.float32)


def fit_weights(tables: Sequence[np.ndarray], truth: np.ndarray, by: str) -> np.ndarray:
    """Weights [n_tables] that add up to 1 and minimise the cross-entropy of the blend with `truth`."""
    from scipy.optimize import minimize
    from scipy.special import softmax

    scores = np.stack(tables).astype(np.float64)
    blend_function = BLEND_FUNCTIONS["mean" if by == "rank" else by]  # ranks are no probabilities

    def loss(logits: np.ndarray) -> float:
        blended = np.clip(blend_function(scores, softmax(logits)), EPSILON, 1 - EPSILON)
        return float(-np.mean(truth * np.log(blended) + (1 - truth) * np.log(1 - blended)))

    # With the usual tolerances the loss of eight tables is up to 4 % from the least.
    exact = {"ftol": 1e-14, "gtol": 1e-9}
    return np.asarray(softmax(minimize(loss, np.zeros(len(tables)), method="L-BFGS-B", options=exact).x))


def cross_fit_blend(tables: Sequence[np.ndarray], truth: np.ndarray, folds: np.ndarray, by: str) -> np.ndarray:
    """Blends [n_clips, n_labels] of out-of-fold scores, each fold's by weights fitted on the other folds' clips."""
    blended = np.empty_like(tables[0])
    for fold in np.unique(folds):
        in_fold = folds == fold
        weights = fit_weights([table[~in_fold] for table in tables], truth[~in_fold], by)
        blended[in_fold] = blend_tables(tables, by, weights)[in_fold]  # a rank is one among all clips
    return blended
