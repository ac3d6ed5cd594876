"""Which clips the page of make survey shows: some of each label, and those to compare by ear."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from preprocess.dataset.labels import split_labels
from preprocess.statistics.dataset import DatasetStatistics

CLIPS_PER_SET = 4
MAX_SET_SHARE = 1 / 3
"""Of the page's clips, for those to compare."""
LEAK, CONFLICT, REPEATED, CUT_GROUP = (
    "the same sound in two folds, or in training and test",
    "the same sound labelled in two ways",
    "the same sound within a fold or the test clips",
    "one group in training and test",
)


@dataclass(frozen=True)
class ClipSet:
    """Clips to compare."""

    reason: str
    clips: Sequence[str]
    """Those shown."""
    n_clips: int
    """Of the whole set."""


def choose_sets(stats: DatasetStatistics, table: pd.DataFrame, n_clips: int) -> list[ClipSet]:
    """Clips with the same sound or of one group, the worst first; at most MAX_SET_SHARE of `n_clips` in all."""
    leaks, conflicts = ([one["clip"] for one in stats[key]] for key in ("leaks", "conflicting_labels"))
    found = [(LEAK, clips) for clips in leaks]
    found += [(CONFLICT, clips) for clips in conflicts if clips not in leaks]
    found += [(REPEATED, clips) for clips in stats["duplicates"] if clips not in leaks and clips not in conflicts]
    cut_groups = table[table["group"].isin(stats["groups_in_train_and_test"])].groupby("group")["clip"]
    found += [(CUT_GROUP, clips.tolist()) for _, clips in cut_groups]  # of those that can be read
    by_clip, sets, n_shown = table.set_index("clip"), list[ClipSet](), 0
    for reason, clips in found:
        different = ~by_clip.loc[clips].duplicated("labels" if reason == CONFLICT else "fold")
        shown = [*different.index[different], *different.index[~different]][:CLIPS_PER_SET]
        n_shown += len(shown)
        if n_shown > MAX_SET_SHARE * n_clips:
            break
        sets.append(ClipSet(reason, shown, len(clips)))
    return sets


def rank_clips(table: pd.DataFrame, seed: int) -> dict[str, list[str]]:
    """The clips of each label in random order: curated ones first, and first of all those with no other label."""
    shuffled = table.sample(frac=1, random_state=seed % 2**32)  # pandas takes no more
    labels = shuffled["labels"].map(split_labels)
    ranked = shuffled.assign(labels=labels, n_labels=labels.map(len)).sort_values(
        ["label_quality", "n_labels"], kind="stable"
    )
    pairs = ranked[["clip", "labels"]].explode("labels").dropna()
    return {str(label): clips.tolist() for label, clips in pairs.groupby("labels", sort=False)["clip"]}


def deal_clips(ranked: Mapping[str, Sequence[str]], n_clips: int, without: Collection[str]) -> dict[str, list[str]]:
    """At most `n_clips` of the labels, each clip once: one of every label, the most frequent first, then a second."""
    waiting = {label: iter(clips) for label, clips in sorted(ranked.items(), key=lambda item: -len(item[1]))}
    dealt, taken = {label: list[str]() for label in waiting}, set(without)
    while waiting and len(taken) < n_clips + len(without):
        for label, clips in list(waiting.items()):
            clip = next((clip for clip in clips if clip not in taken), None)
            if clip is None:
                del waiting[label]
            elif len(taken) < n_clips + len(without):
                taken.add(clip)
                dealt[label].append(clip)
    return {label: clips for label, clips in dealt.items() if clips}
