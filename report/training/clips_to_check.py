"""The clips of a run to listen to: possible label errors and high losses, each with the labels it may be given."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from preprocess.dataset.labels import split_labels
from report import summary as summaries
from report.training.out_of_fold import OofSummary
from train.data.corrected_clips import DROP
from train.evaluate.out_of_fold import find_label_issues

REASONS = {"issue": "possible label error", "loss": "high loss"}
"""Why a clip is looked at."""
MAX_TOP_LOSSES = 20


@dataclass(frozen=True)
class ClipToCheck:
    """Why a clip is to be checked, and what its labels may be."""

    ranks: Mapping[str, int]
    """Its place among the clips of each of its reasons, the keys of REASONS, from 0 on."""
    proposed: list[str]
    """Labels that its scores propose; none where they propose to drop it, or where it is no possible label error."""
    issue_score: float
    """As in label_issues.csv; NaN where it is no possible label error."""


def find_clips_to_check(oof: OofSummary) -> dict[int, ClipToCheck]:
    """By row of `oof.clips`, all possible label errors, the worst first, then the other clips of the highest losses."""
    clips, curated = oof.clips, oof.curated
    targets, noisy, scores = map(torch.from_numpy, (clips.truth, oof.is_noisy, clips.scores))
    issues = find_label_issues(clips.clips, clips.labels, targets, noisy, scores)
    issue_of = {clip: (rank, proposed, float(score)) for rank, (clip, proposed, _, _, score) in enumerate(issues)}
    loss_rank_of = {clip: rank for rank, clip in enumerate(summaries.top_losses(curated, MAX_TOP_LOSSES)["clip"])}
    row_of = {clip: row for row, clip in enumerate(clips.clips)}
    found = {}
    for clip in dict.fromkeys([*issue_of, *loss_rank_of]):
        rank, proposed, issue_score = issue_of.get(clip, (None, DROP, float("nan")))
        ranks = {"issue": rank, "loss": loss_rank_of.get(clip)}
        found[row_of[clip]] = ClipToCheck(
            {reason: rank for reason, rank in ranks.items() if rank is not None},
            [] if proposed == DROP else split_labels(proposed),
            issue_score,
        )
    return found


def choose_clips(found: Mapping[int, ClipToCheck], most: int) -> dict[int, ClipToCheck]:
    """At most `most` clips: those of the highest losses, at most a third, and the worst possible label errors."""
    ranked = sorted(found, key=lambda row: found[row].ranks.get("loss", MAX_TOP_LOSSES))
    losses = {row for row in ranked[: most // 3] if "loss" in found[row].ranks}
    others = [row for row in found if row not in losses and "issue" in found[row].ranks]
    kept = losses.union(others[: most - len(losses)])
    return {row: clip for row, clip in found.items() if row in kept}


def describe_clip(card: dict[str, Any], row: int, clip: ClipToCheck, oof: OofSummary) -> dict[str, Any]:
    """A clip's card with its fold, its loss, and the labels to choose from, those `checked` that are proposed.

    Where none are proposed, the given ones are checked.
    """
    checked = clip.proposed or [each["label"] for each in card["labels"] if each["present"]]
    labels = dict.fromkeys([*(each["label"] for each in card["labels"]), *clip.proposed])
    names = dict(zip(oof.clips.labels, oof.clips.label_names, strict=True))
    return card | {
        "ranks": clip.ranks,
        "issue_score": clip.issue_score,
        "fold": int(oof.folds[row]),
        "is_noisy": bool(oof.is_noisy[row]),
        "choices": [(label, names[label], label in checked) for label in labels],
    }
