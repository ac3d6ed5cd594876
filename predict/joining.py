"""Scores of several recipes for the same clips: matched by the names of clips and labels, and weighed across folds."""

from collections.abc import Sequence

import numpy as np

from errors import BadInput
from predict.weighted import blend_tables, fit_weights
from train.scores import Scores


def match_tables(names: Sequence[str], tables: Sequence[Scores]) -> list[Scores]:
    """The tables in the rows and columns of the first. Raises BadInput for a clip or label that some lack."""
    first = tables[0]
    for name, table in zip(names, tables, strict=True):
        for kind, mine, theirs in (("clip", first.clips, table.clips), ("label", first.labels, table.labels)):
            if odd := sorted(set(mine) ^ set(theirs)):
                lacks, has = (names[0], name) if odd[0] in theirs else (name, names[0])
                raise BadInput(
                    f"{lacks} has no scores of {kind} {odd[0]!r}, which {has} has: train and predict both on one DATA="
                )
    return [_in_order(table, first) for table in tables]


def _in_order(table: Scores, first: Scores) -> Scores:
    row_of = {clip: row for row, clip in enumerate(table.clips)}
    column_of = {label: column for column, label in enumerate(table.labels)}
    rows, columns = [row_of[clip] for clip in first.clips], [column_of[label] for label in first.labels]
    return Scores(first.clips, first.labels, table.values[np.ix_(rows, columns)])


def blend_across_folds(tables: Sequence[np.ndarray], truth: np.ndarray, folds: np.ndarray, by: str) -> np.ndarray:
    """Blends [n_clips, n_labels] of out-of-fold scores, each fold's by weights fitted on the others' clips."""
    blended = np.empty_like(tables[0])
    for fold in np.unique(folds):
        here = folds == fold
        weights = fit_weights([table[~here] for table in tables], truth[~here], by)
        blended[here] = blend_tables(tables, by, weights)[here]  # a rank is one among all clips
    return blended
