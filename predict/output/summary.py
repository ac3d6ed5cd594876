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
from train.evaluate.score_table import ScoreTable

METRIC_NAMES = {
    "lwlrap": "lwlrap",
    "map": "mAP",
    "accuracy": "accuracy",
    "f1_micro": "micro F1",
    "f1_macro": "macro F1",
    "hamming": "Hamming score",
}
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)


@dataclass(frozen=True)
class SubmissionSummary:
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
    def decisions(self) -> np.ndarray:
        """Which labels a clip is given, boolean [n_clips, n_labels]."""
        return self.scores >= self.thresholds

    @cached_property
    def top_scores(self) -> np.ndarray:
        """Each clip's highest score [n_clips]."""
        return self.scores.max(axis=1)

    @cached_property
    def has_truth(self) -> np.ndarray:
        """Whether a clip's truth is known [n_clips]."""
        return ~np.isnan(self.truth[:, 0])

    def top1_counts(self) -> list[int]:
        """How many clips each label scores highest in [n_labels]."""
        return np.bincount(self.scores.argmax(axis=1), minlength=len(self.labels)).tolist()

    def top_score_percentiles(self) -> list[tuple[int, float]]:
        """Percentiles of the clips' highest scores."""
        return list(zip(PERCENTILES, np.percentile(self.top_scores, PERCENTILES).tolist(), strict=True))

    def key_metrics(self) -> list[tuple[str, str]]:
        """The numbers to see first, by name, as text: the metrics where the truth is known, and what was decided."""
        rows = self.has_truth
        metrics_by_name = {}
        if rows.any():
            truth, scores = torch.from_numpy(self.truth[rows]), torch.from_numpy(self.scores[rows])
            metrics_by_name = metrics.compute_metrics(truth, scores, torch.from_numpy(self.thresholds))
        shown = [(METRIC_NAMES[key], f"{value:.3f}") for key, value in metrics_by_name.items()]
        given = self.decisions.sum(axis=1)
        return [
            *shown,
            ("labels given a clip", f"{given.mean():.2f}"),
            ("no confident label", str(int((given == 0).sum()))),
        ]

    def histogram(self, bins: int = 20) -> list[tuple[int, int, int]]:
        """Clips by their highest score, in equal steps from 0 to 1: (its label is true, is not, is unknown)."""
        right = np.take_along_axis(self.truth, self.scores.argmax(axis=1)[:, None], axis=1)[:, 0] > 0.5
        kinds = (right, self.has_truth & ~right, ~self.has_truth)
        counts = [np.histogram(self.top_scores[kind], bins=bins, range=(0, 1))[0].tolist() for kind in kinds]
        return list(zip(*counts, strict=True))

    def per_label_rows(self) -> list[dict[str, Any]]:
        """A row a label: clips it wins and is given, its mean score, and against the truth its precision and recall."""
        present, given = self.truth[self.has_truth] > 0.5, self.decisions[self.has_truth]
        true_positives = (present & given).sum(axis=0)
        return [
            {
                "label": label,
                "top1": top1_count,
                "decided": int(self.decisions[:, column].sum()),
                "mean": float(self.scores[:, column].mean()),
                "present": int(present[:, column].sum()),
                "precision": true_positives[column] / n_given if (n_given := given[:, column].sum()) else None,
                "recall": true_positives[column] / n_present if (n_present := present[:, column].sum()) else None,
            }
            for column, (label, top1_count) in enumerate(zip(self.labels, self.top1_counts(), strict=True))
        ]

    def unlabelled(self) -> list[int]:
        """Clips where no score reaches its label's threshold, the lowest first."""
        rows = np.flatnonzero(~self.decisions.any(axis=1))
        return rows[np.argsort(self.top_scores[rows], kind="stable")].tolist()

    def most_confident(self, count: int) -> list[int]:
        """The clips of the highest top scores."""
        return np.argsort(-self.top_scores, kind="stable")[:count].tolist()

    def least_confident(self, count: int) -> list[int]:
        """The clips of the lowest top scores, the lowest first."""
        return np.argsort(self.top_scores, kind="stable")[:count].tolist()

    def wrong_clips(self) -> list[int]:
        """Clips with a wrong decision, by how far the furthest score is from the truth, the furthest first."""
        present = self.truth > 0.5
        distance = np.where(
            (self.decisions != present) & self.has_truth[:, None], np.abs(self.scores - present), 0
        ).max(axis=1)
        order = np.argsort(-distance, kind="stable")
        return order[distance[order] > 0].tolist()

    def examples_per_label(self) -> list[int]:
        """The surest clips that each label wins, one a label in turn, then the next of each."""
        order = np.argsort(-self.top_scores, kind="stable")
        top_label = self.scores[order].argmax(axis=1)
        turn = pd.Series(top_label).groupby(top_label).cumcount().to_numpy()
        return order[np.argsort(turn, kind="stable")].tolist()

    def top_labels(self, row: int, count: int) -> list[dict[str, Any]]:
        """The clip's highest scores, and every label it is known to have or was given, the highest first."""
        present = self.truth[row] > 0.5
        order = np.argsort(-self.scores[row], kind="stable")
        shown = [
            column
            for rank, column in enumerate(order)
            if rank < count or present[column] or self.decisions[row, column]
        ]
        return [
            {
                "label": self.labels[column],
                "score": float(self.scores[row, column]),
                "decided": bool(self.decisions[row, column]),
                "present": bool(present[column]),
            }
            for column in shown
        ]


def summarise_submission(scores: ScoreTable, thresholds: Thresholds, truth: Truth | None) -> SubmissionSummary:
    """Put scores, decisions and what is known of the truth side by side."""
    present = np.full(scores.values.shape, np.nan, np.float32)
    rows = {clip: row for row, clip in enumerate(scores.clips)}
    if truth:
        for clip, values in zip(truth.clips, truth.values, strict=True):
            present[rows[clip]] = values
    return SubmissionSummary(scores.clips, scores.labels, scores.values, thresholds.values, present)


def format_summary(summary: SubmissionSummary, count: int = 10) -> str:
    """A summary for a terminal."""
    label_rows = sorted(
        zip(summary.labels, summary.top1_counts(), summary.decisions.sum(axis=0).tolist(), strict=True),
        key=lambda row: -row[1],
    )
    width = max(map(len, ["label", *summary.labels]))
    unlabelled = summary.unlabelled()
    lines = [
        f"{'label':<{width}}  top-1  decided",
        *(f"{label:<{width}}  {top1_count:>5}  {n_decided:>7}" for label, top1_count, n_decided in label_rows),
    ]
    lines += ["", "highest score of a clip, percentiles:"]
    lines += ["  " + "   ".join(f"{percent} %: {value:.3f}" for percent, value in summary.top_score_percentiles())]
    lines += [
        "",
        f"{len(unlabelled)} of {len(summary.clips)} clips have no confident label" + (":" if unlabelled else ""),
    ]
    lines += _clip_lines(summary, unlabelled[:count])
    lines += ["", "most confident:", *_clip_lines(summary, summary.most_confident(count))]
    lines += ["", "least confident:", *_clip_lines(summary, summary.least_confident(count))]
    if summary.has_truth.any():
        wrong_clips = summary.wrong_clips()
        lines += [
            "",
            f"{len(wrong_clips)} of {summary.has_truth.sum()} clips of known labels are decided wrongly, "
            "the furthest off:",
        ]
        lines += _clip_lines(summary, wrong_clips[:count])
    return "\n".join(lines)


def _clip_lines(summary: SubmissionSummary, rows: Sequence[int]) -> list[str]:
    """A line a clip: its highest score, that label, the clip, and the truth where it is known."""
    top_labels = summary.scores.argmax(axis=1)
    return [
        f"  {summary.top_scores[row]:.3f}  {summary.labels[top_labels[row]]}  {summary.clips[row]}{_true(summary, row)}"
        for row in rows
    ]


def _true(summary: SubmissionSummary, row: int) -> str:
    """The true labels of a clip, in brackets, where they are known."""
    if not summary.has_truth[row]:
        return ""
    return f"  (is {', '.join(true_labels(summary, row)) or 'none of the labels'})"


def true_labels(summary: SubmissionSummary, row: int) -> list[str]:
    """The labels that a clip is known to have."""
    return [summary.labels[column] for column in np.flatnonzero(summary.truth[row] > 0.5)]
