"""What stands out in a submission: labels, confidence, the clips to look at, confusions and losses."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from predict.output.summary import SubmissionSummary
from preprocess.dataset.labels import is_single_label
from train.evaluate import metrics

REASONS = {
    "differs": "decided differently",
    "error": "decided wrongly",
    "unlabelled": "no confident label",
    "least_confident": "least confident",
    "most_confident": "most confident",
    "example": "most confident per label",
}
"""Why a clip is looked at."""
CLIPS_PER_REASON = 10
NO_VOTE = "no vote"
"""Instead of the top-1 label of a clip of which no window has one."""
PERCENTILES = (0, 5, 25, 50, 75, 95, 100)
MAX_ROWS = 2_000
"""Of the page's tables of clips."""
EPSILON = 1e-7
"""The least distance of a score from 0 and 1: without it one clip's loss could be infinite."""
MAX_LABELS_PRINTED, MAX_LABELS_ON_PAGE = 24, 60
"""Most labels of a confusion matrix in a terminal, and on a page."""


def key_metrics(summary: SubmissionSummary) -> list[tuple[str, str]]:
    """The numbers to see first, by name, as text: the metrics where the truth is known, and what was decided."""
    given = summary.decisions.sum(axis=1)
    return [
        *((name, f"{value:.3f}") for name, value in summary.metrics().items()),
        ("labels given a clip", f"{given.mean():.2f}"),
        ("no confident label", str(int((given == 0).sum()))),
    ]


def format_key_metrics(summary: SubmissionSummary) -> str:
    """The key metrics, a line each."""
    return "\n".join(f"  {name:<22}{value}" for name, value in key_metrics(summary))


def label_table(summary: SubmissionSummary) -> pd.DataFrame:
    """A row a label, the most frequent top-1 first: clips where it is top-1, decisions, mean score.

    Where truth is known, the clips that have it, precision and recall; NaN where they are not defined.
    """
    present, given = summary.truth[summary.has_truth] > 0.5, summary.decisions[summary.has_truth]
    table = pd.DataFrame(
        {
            "label": summary.label_names,
            "top1": np.bincount(summary.top1[summary.top1 >= 0], minlength=len(summary.labels)),
            "decided": summary.decisions.sum(axis=0),
            "mean_score": summary.scores.mean(axis=0),
            "present": present.sum(axis=0),
        }
    )
    hits = pd.Series((present & given).sum(axis=0))
    table["precision"], table["recall"] = hits / given.sum(axis=0), hits / table["present"]
    return table.sort_values("top1", ascending=False, kind="stable")


def clip_table(summary: SubmissionSummary) -> pd.DataFrame:
    """A row a clip: its top-1 label or NO_VOTE, its score, whether it is true; labels given, and true ones; its loss.

    The loss is the cross-entropy of the true label's score where every known clip has one label, otherwise binary and
    summed over the labels. NaN, and no words, where the truth is not known.
    """
    present, top1 = summary.truth > 0.5, summary.top1
    scores = np.clip(summary.scores.astype(np.float64), EPSILON, 1 - EPSILON)
    losses = -np.log(np.where(present, scores, 1 - scores))
    if is_single_label(summary.truth[summary.has_truth]):
        losses = np.where(present, losses, 0)
    names = np.array(summary.label_names, dtype=object)
    table = pd.DataFrame(
        {
            "clip": summary.clips,
            "predicted_label": np.append(names, NO_VOTE)[top1],
            "score": summary.scores.max(axis=1),
            "correct": np.take_along_axis(present, top1[:, None], axis=1)[:, 0] & (top1 >= 0),
            "decided": [", ".join(names[row]) for row in summary.decisions],
            "labels": [", ".join(names[row]) or "none of the labels" for row in present],
            "loss": losses.sum(axis=1),
        }
    )
    table.loc[~summary.has_truth, ["labels", "loss"]] = np.nan
    return table


def sample_rows(n_clips: int, shown: Collection[int]) -> list[int]:
    """Rows of clips for a table, at most some MAX_ROWS: all, or evenly drawn ones besides those that are shown."""
    drawn = range(n_clips) if n_clips <= MAX_ROWS else np.linspace(0, n_clips - 1, MAX_ROWS).astype(int).tolist()
    return sorted({*shown, *drawn})


def histogram(summary: SubmissionSummary, bins: int = 20) -> list[tuple[int, int, int]]:
    """Clips by their highest score, in equal steps from 0 to 1: (its label is true, is not, is unknown)."""
    clips, known = clip_table(summary), summary.has_truth
    kinds = (clips["correct"], known & ~clips["correct"], ~known)
    counts = [np.histogram(clips["score"][kind], bins=bins, range=(0, 1))[0].tolist() for kind in kinds]
    return list(zip(*counts, strict=True))


def rank_clips(summary: SubmissionSummary) -> dict[str, list[int]]:
    """Rows of the clips by reason: the keys of REASONS but the first; those to look at first in front.

    Errors are sorted by how far their furthest score is from the truth; examples take the top-1 labels in turn.
    """
    present, top_scores = summary.truth > 0.5, summary.scores.max(axis=1)
    is_wrong = (summary.decisions != present) & summary.has_truth[:, None]
    distance = np.where(is_wrong, np.abs(summary.scores - present), 0).max(axis=1)
    furthest, lowest, highest = (np.argsort(keys, kind="stable") for keys in (-distance, top_scores, -top_scores))
    top_labels = pd.Series(summary.top1[highest])
    turns = top_labels.groupby(top_labels).cumcount().argsort(kind="stable")
    ranked = {
        "error": furthest[distance[furthest] > 0],
        "unlabelled": lowest[~summary.decisions[lowest].any(axis=1)],
        "least_confident": lowest,
        "most_confident": highest,
        "example": highest[turns],
    }
    return {reason: rows.tolist() for reason, rows in ranked.items()}


def select_clips(summary: SubmissionSummary, most: int, differing: Sequence[int] = ()) -> dict[int, list[str]]:
    """The clips to show, at most `most`, in order, with the reasons why: the keys of REASONS.

    `differing` are the rows of those that another run decides differently.
    """
    chosen: dict[int, list[str]] = {}
    for reason, rows in {"differs": differing, **rank_clips(summary)}.items():
        if reason == "example":
            others = [row for row in rows if row not in chosen]
            return chosen | {row: [reason] for row in others[: most - len(chosen)]}
        for row in rows[: most // 2 if reason in ("differs", "error") else CLIPS_PER_REASON]:
            if row in chosen or len(chosen) < most:
                chosen.setdefault(row, []).append(reason)
    return chosen


def top_labels(summary: SubmissionSummary, row: int, count: int) -> list[dict[str, Any]]:
    """The clip's highest scores, and every label it is known to have or was given, the highest first."""
    labels = pd.DataFrame(
        {
            "label": summary.labels,
            "name": summary.label_names,
            "column": range(len(summary.labels)),
            "score": summary.scores[row],
            "decided": summary.decisions[row],
            "present": summary.truth[row] > 0.5,
        }
    ).sort_values("score", ascending=False, kind="stable", ignore_index=True)
    return labels[(labels.index < count) | labels["decided"] | labels["present"]].to_dict("records")


def confusion_matrix(summary: SubmissionSummary) -> np.ndarray | None:
    """Clips with exactly one label, by label (row) and top-1 label (column); None where there is no such clip."""
    counted = summary.has_truth & (summary.top1 >= 0)
    truth, scores = (torch.from_numpy(each[counted]) for each in (summary.truth, summary.scores))
    return metrics.confusion_matrix(truth, scores).numpy() if (truth.sum(1) == 1).any() else None


def most_confused(labels: Sequence[str], matrix: np.ndarray) -> list[tuple[str, str, int]]:
    """(label, top-1 label instead, clips) of a confusion matrix, off its diagonal, the most frequent first."""
    cells = np.argwhere(matrix * ~np.eye(len(labels), dtype=bool)).tolist()
    wrong = [(labels[true], labels[predicted], int(matrix[true, predicted])) for true, predicted in cells]
    return sorted(wrong, key=lambda pair: (-pair[2], pair[:2]))


def top_losses(summary: SubmissionSummary, count: int = CLIPS_PER_REASON) -> pd.DataFrame:
    """The clips with the highest losses, the highest first, as `clip_table`."""
    return clip_table(summary).dropna(subset="loss").sort_values("loss", ascending=False, kind="stable")[:count]


def format_summary(summary: SubmissionSummary, count: int = CLIPS_PER_REASON) -> str:
    """A summary for a terminal: labels, confidence, the clips to look at, and where truth is known the errors."""
    ranked, clips = rank_clips(summary), clip_table(summary)
    n_unlabelled, n_wrong, n_known = len(ranked["unlabelled"]), len(ranked["error"]), summary.has_truth.sum()
    label_counts = label_table(summary).set_index("label")[["top1", "decided"]].set_axis(["top-1", "decided"], axis=1)
    percentiles = zip(PERCENTILES, np.percentile(clips["score"], PERCENTILES), strict=True)
    lines = [
        label_counts.rename_axis(None).rename_axis("label", axis=1).to_string(),
        "\nhighest score of a clip, percentiles:",
        "  " + "   ".join(f"{percent} %: {value:.3f}" for percent, value in percentiles),
    ]
    headings = {
        "unlabelled": f"{n_unlabelled} of {len(clips)} clips have no confident label{':' if n_unlabelled else ''}",
        "most_confident": "most confident:",
        "least_confident": "least confident:",
    }
    if n_known:
        headings["error"] = f"{n_wrong} of {n_known} clips of known labels are decided wrongly, the furthest off:"
    for reason, heading in headings.items():
        lines += [f"\n{heading}", *_clip_lines(clips.iloc[ranked[reason][:count]], "score")]
    matrix, numbers = confusion_matrix(summary), range(1, len(summary.labels) + 1)
    if matrix is not None and len(numbers) <= MAX_LABELS_PRINTED:
        names = [f"{number:>2}  {label}" for number, label in zip(numbers, summary.label_names, strict=True)]
        table = pd.DataFrame(matrix, names, numbers).astype(object).replace(0, "·")
        lines += ["\nclips by label (a row) and by top-1 label (a column):", table.to_string()]
    if n_known:
        lines += ["\nhighest losses:", *_clip_lines(top_losses(summary, count), "loss", "score")]
    return "\n".join(lines)


def _clip_lines(clips: pd.DataFrame, *numbers: str) -> list[str]:
    """Rows of `clip_table`: `numbers`, the top-1 label, the clip, and where it is known what it is."""
    names = {"predicted_label": "top-1", "clip": "clip", "labels": "is"}
    table = clips[[*numbers, *names]].rename(columns=names).dropna(axis=1, how="all")
    return table.to_string(index=False, float_format="%.3f", na_rep="").splitlines() if len(clips) else []
