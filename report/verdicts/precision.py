"""Precision by score from verdicts, and the score from which a label is right as often as is wanted."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import binomtest
from sklearn.linear_model import LogisticRegression

from core.csv_tables import write_table

PRECISION_NAME = "precision.csv"
SCORE_EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0)
COLUMNS = ["label", "from_score", "to_score", "judged", "right", "precision", "low", "high"]
"""`low` and `high` are Wilson's 95 % interval (1927)."""
MIN_VERDICTS = 10
"""Of a label whose threshold is chosen."""
REGULARISATION = 10.0
"""sklearn's C: weak, so that verdicts which a score parts completely still give a finite slope."""
MIN_ODDS = 1e-6


@dataclass(frozen=True)
class ThresholdChoice:
    """The threshold of a label for a wanted precision."""

    label: str
    threshold: float | None
    """1 where no score is good enough; None where there are too few verdicts."""
    n_judged: int
    n_right_above: int
    n_judged_above: int
    is_reached: bool = True
    """Whether some score is good enough."""

    def describe(self) -> str:
        """The label, its threshold, and what was judged from there on."""
        if self.threshold is None:
            return f"{self.label}: {self.n_judged} verdicts, too few (it takes {MIN_VERDICTS}): unchanged"
        if not self.is_reached:
            return f"{self.label}: no score is good enough, from now on only one of exactly 1 gives the label"
        above = f"{self.n_right_above} of {self.n_judged_above} clips judged from there on are right"
        return f"{self.label}: {self.threshold:.4g}, {above}"


def precision_table(judged: pd.DataFrame) -> list[list[object]]:
    """Rows of COLUMNS, a label and range of scores that has verdicts, then a label's whole range.

    `judged` has the columns label, score and is_right.
    """
    rows: list[list[object]] = []
    for label, group in judged.groupby("label"):
        for low, high in [*pairwise(SCORE_EDGES), (SCORE_EDGES[0], SCORE_EDGES[-1])]:
            is_last = high == SCORE_EDGES[-1]
            inside = group["is_right"][(group["score"] >= low) & ((group["score"] < high) | is_last)]
            if len(inside):
                n_right = int(inside.sum())
                interval = binomtest(n_right, len(inside)).proportion_ci(0.95, method="wilson")
                shares = n_right / len(inside), float(interval.low), float(interval.high)
                rows.append([label, low, high, len(inside), n_right, *shares])
    return rows


def write_precision(folder: Path, rows: list[list[object]]) -> Path:
    """Write precision.csv."""
    texts = [[f"{cell:.4g}" if isinstance(cell, float) else cell for cell in row] for row in rows]
    write_table(folder / PRECISION_NAME, COLUMNS, texts)
    return folder / PRECISION_NAME


def probability_right(scores: np.ndarray, is_right: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How probable it is that detections of scores `at` are right, [n], by logistic regression on the score's logit.

    Wood & Kahl 2024, "Guidelines for appropriate use of BirdNET scores and other detector outputs". Where verdicts do
    not rise with the score, the share of right ones.
    """
    share = float(is_right.mean())
    if share in (0.0, 1.0):
        return np.full(len(at), share)
    model = LogisticRegression(C=REGULARISATION).fit(_log_odds(scores), is_right)
    return model.predict_proba(_log_odds(at))[:, 1] if model.coef_[0, 0] > 0 else np.full(len(at), share)


def _log_odds(scores: np.ndarray) -> np.ndarray:
    """[n, 1]"""
    clipped = np.clip(scores, MIN_ODDS, 1 - MIN_ODDS)
    return np.log(clipped / (1 - clipped))[:, None]


def choose_threshold(label: str, judged: pd.DataFrame, all_scores: np.ndarray, precision: float) -> ThresholdChoice:
    """The lowest score from which on a label's detections are right as often as `precision`.

    That is the mean probability of all detections from there on, `all_scores`, and not the share of judged ones: these
    were not drawn in proportion. No threshold is below the lowest judged score.
    """
    scores, is_right = judged["score"].to_numpy(), judged["is_right"].to_numpy(bool)
    threshold, is_reached = None, True
    if len(judged) >= MIN_VERDICTS:
        falling, counts = (each[::-1] for each in np.unique(all_scores[all_scores >= scores.min()], return_counts=True))
        right = np.cumsum(counts * probability_right(scores, is_right, falling)) / np.cumsum(counts)
        enough = np.flatnonzero(right >= precision - 1e-9)
        is_reached = len(enough) > 0
        threshold = float(falling[enough[-1]]) if is_reached else 1.0
    above = is_right[scores >= threshold] if threshold is not None else is_right
    return ThresholdChoice(label, threshold, len(judged), int(above.sum()), len(above), is_reached)
