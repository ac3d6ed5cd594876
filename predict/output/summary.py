"""What stands out in a submission: which labels win, which clips are sure, unsure, or surely wrong."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import torch

from predict.decide.thresholds import Thresholds
from predict.output.ground_truth import Truth
from train.evaluate import metrics
from train.evaluate.score_table import Scores

METRIC_NAMES = {
    "lwlrap": "lwlrap",
    "map": "mAP",
    "accuracy": "accuracy",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "hamming": "Hamming score",
}
QUANTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class Findings:
    """Scores by clip and label, with the truth where it is known (NaN where not)."""

    clips: list[str]
    labels: list[str]
    scores: np.ndarray
    """[n_clips, n_labels]"""
    thresholds: np.ndarray
    """[n_labels]"""
    truth: np.ndarray
    """[n_clips, n_labels], NaN in the rows of clips that nothing is known of."""

    @cached_property
    def decided(self) -> np.ndarray:
        """Which labels a clip is given, boolean [n_clips, n_labels]."""
        return self.scores >= self.thresholds

    @cached_property
    def top(self) -> np.ndarray:
        """Each clip's highest score [n_clips]."""
        return self.scores.max(axis=1)

    @cached_property
    def known(self) -> np.ndarray:
        """Whether a clip's truth is known [n_clips]."""
        return ~np.isnan(self.truth[:, 0])

    def wins(self) -> list[int]:
        """How many clips each label scores highest in [n_labels]."""
        return np.bincount(self.scores.argmax(axis=1), minlength=len(self.labels)).tolist()

    def spread(self) -> list[tuple[int, float]]:
        """Percentiles of the clips' highest scores."""
        return list(zip(QUANTILES, np.percentile(self.top, QUANTILES).tolist(), strict=True))

    def figures(self) -> list[tuple[str, str]]:
        """The numbers to see first, by name, as text: the metrics where the truth is known, and what was decided."""
        rows = self.known
        summary = {}
        if rows.any():
            truth, scores = torch.from_numpy(self.truth[rows]), torch.from_numpy(self.scores[rows])
            summary = metrics.summarise(truth, scores, torch.from_numpy(self.thresholds))
        figures = [(METRIC_NAMES[key], f"{value:.3f}") for key, value in summary.items()]
        given = self.decided.sum(axis=1)
        return [
            *figures,
            ("labels given a clip", f"{given.mean():.2f}"),
            ("no confident label", str(int((given == 0).sum()))),
        ]

    def histogram(self, bins: int = 20) -> list[tuple[int, int, int]]:
        """Clips by their highest score, in equal steps from 0 to 1: (its label is true, is not, is unknown)."""
        right = np.take_along_axis(self.truth, self.scores.argmax(axis=1)[:, None], axis=1)[:, 0] > 0.5
        kinds = (right, self.known & ~right, ~self.known)
        counts = [np.histogram(self.top[kind], bins=bins, range=(0, 1))[0].tolist() for kind in kinds]
        return list(zip(*counts, strict=True))

    def by_label(self) -> list[dict[str, Any]]:
        """A row a label: clips it wins and is given, its mean score, and against the truth its precision and recall."""
        present, given = self.truth[self.known] > 0.5, self.decided[self.known]
        hits = (present & given).sum(axis=0)
        return [
            {
                "label": label,
                "wins": wins,
                "decided": int(self.decided[:, column].sum()),
                "mean": float(self.scores[:, column].mean()),
                "present": int(present[:, column].sum()),
                "precision": hits[column] / n_given if (n_given := given[:, column].sum()) else None,
                "recall": hits[column] / n_present if (n_present := present[:, column].sum()) else None,
            }
            for column, (label, wins) in enumerate(zip(self.labels, self.wins(), strict=True))
        ]

    def unlabelled(self) -> list[int]:
        """Clips where no score reaches its label's threshold, the lowest first."""
        rows = np.flatnonzero(~self.decided.any(axis=1))
        return rows[np.argsort(self.top[rows], kind="stable")].tolist()

    def surest(self, count: int) -> list[int]:
        """The clips of the highest top scores."""
        return np.argsort(-self.top, kind="stable")[:count].tolist()

    def least_sure(self, count: int) -> list[int]:
        """The clips of the lowest top scores, the lowest first."""
        return np.argsort(self.top, kind="stable")[:count].tolist()

    def mistakes(self) -> list[int]:
        """Clips with a wrong decision, by how far the furthest score is from the truth, the furthest first."""
        present = self.truth > 0.5
        distance = np.where((self.decided != present) & self.known[:, None], np.abs(self.scores - present), 0).max(
            axis=1
        )
        order = np.argsort(-distance, kind="stable")
        return order[distance[order] > 0].tolist()

    def examples(self) -> list[int]:
        """The surest clips that each label wins, one a label in turn, then the next of each."""
        order = np.argsort(-self.top, kind="stable")
        winner = self.scores[order].argmax(axis=1)
        turn = pd.Series(winner).groupby(winner).cumcount().to_numpy()
        return order[np.argsort(turn, kind="stable")].tolist()

    def top_labels(self, row: int, count: int) -> list[dict[str, Any]]:
        """The clip's highest scores, and every label it is known to have or was given, the highest first."""
        present = self.truth[row] > 0.5
        order = np.argsort(-self.scores[row], kind="stable")
        shown = [
            column
            for place, column in enumerate(order)
            if place < count or present[column] or self.decided[row, column]
        ]
        return [
            {
                "label": self.labels[column],
                "score": float(self.scores[row, column]),
                "decided": bool(self.decided[row, column]),
                "present": bool(present[column]),
            }
            for column in shown
        ]


def find(scores: Scores, thresholds: Thresholds, truth: Truth | None) -> Findings:
    """Put scores, decisions and what is known of the truth side by side."""
    present = np.full(scores.values.shape, np.nan, np.float32)
    rows = {clip: row for row, clip in enumerate(scores.clips)}
    if truth:
        for clip, values in zip(truth.clips, truth.values, strict=True):
            present[rows[clip]] = values
    return Findings(scores.clips, scores.labels, scores.values, thresholds.values, present)


def describe(findings: Findings, count: int = 10) -> str:
    """A summary for a terminal."""
    wins = sorted(
        zip(findings.labels, findings.wins(), findings.decided.sum(axis=0).tolist(), strict=True),
        key=lambda row: -row[1],
    )
    width = max(map(len, ["label", *findings.labels]))
    unlabelled = findings.unlabelled()
    lines = [
        f"{'label':<{width}}   wins  decided",
        *(f"{label:<{width}}  {won:>5}  {decided:>7}" for label, won, decided in wins),
    ]
    lines += ["", "highest score of a clip, percentiles:"]
    lines += ["  " + "   ".join(f"{percent} %: {value:.3f}" for percent, value in findings.spread())]
    lines += [
        "",
        f"{len(unlabelled)} of {len(findings.clips)} clips have no confident label" + (":" if unlabelled else ""),
    ]
    lines += _clip_lines(findings, unlabelled[:count])
    lines += ["", "surest:", *_clip_lines(findings, findings.surest(count))]
    lines += ["", "least sure:", *_clip_lines(findings, findings.least_sure(count))]
    if findings.known.any():
        mistakes = findings.mistakes()
        lines += [
            "",
            f"{len(mistakes)} of {findings.known.sum()} clips of known labels are decided wrongly, the furthest off:",
        ]
        lines += _clip_lines(findings, mistakes[:count])
    return "\n".join(lines)


def _clip_lines(findings: Findings, rows: Sequence[int]) -> list[str]:
    """A line a clip: its highest score, that label, the clip, and the truth where it is known."""
    winners = findings.scores.argmax(axis=1)
    return [
        f"  {findings.top[row]:.3f}  {findings.labels[winners[row]]}  {findings.clips[row]}{_true(findings, row)}"
        for row in rows
    ]


def _true(findings: Findings, row: int) -> str:
    """The true labels of a clip, in brackets, where they are known."""
    if not findings.known[row]:
        return ""
    return f"  (is {', '.join(true_labels(findings, row)) or 'none of the labels'})"


def true_labels(findings: Findings, row: int) -> list[str]:
    """The labels that a clip is known to have."""
    return [findings.labels[column] for column in np.flatnonzero(findings.truth[row] > 0.5)]
