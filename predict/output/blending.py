"""Scores of several recipes or runs for the same clips: matched by names, weighed, shown, and written as one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from core.errors import BadInput
from core.paths import Places
from predict.decide.blend_weights import blend_tables, fit_weights
from predict.output.ground_truth import Truth, match_rows, out_of_fold_truth
from predict.output.submission import read_sample, write_submission
from predict.output.summary import METRIC_NAMES
from preprocess.dataset.clip_table import read_clips
from train.evaluate.metrics import summarise
from train.evaluate.score_table import Scores

SHOWN = ("lwlrap", "map", "accuracy")


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


@dataclass(frozen=True)
class OutOfFold:
    """Matched tables of out-of-fold scores, and the truth of the clips it is known of: noisy ones are not scored."""

    tables: Sequence[Scores]
    truth: Truth
    folds: np.ndarray
    """int64 [n_clips] of the truth's clips."""

    @cached_property
    def scores(self) -> list[np.ndarray]:
        """Each table's scores float32 [n_clips, n_labels] in the truth's rows."""
        return [match_rows(self.truth, table) for table in self.tables]

    def weights(self, by: str) -> np.ndarray:
        """Weights [n_tables] that are best on these clips."""
        return fit_weights(self.scores, self.truth.values, by)

    def blend(self, by: str) -> np.ndarray:
        """The blend [n_clips, n_labels] where no clip weighs the tables that it is scored by."""
        return blend_across_folds(self.scores, self.truth.values, self.folds, by)

    def show(self, lines: Iterable[tuple[str, np.ndarray]]) -> None:
        """Print the metrics of scores [n_clips, n_labels], each before what it is called."""
        print(f"out of fold, {len(self.truth.clips)} clips:")
        truth = torch.from_numpy(self.truth.values)
        for name, values in lines:
            summary = summarise(truth, torch.from_numpy(values))
            figures = [f"{METRIC_NAMES[key]} {summary[key]:.4f}" for key in SHOWN if key in summary]
            print("  " + "  ".join([*figures, name]))


def with_truth(tables: Sequence[Scores], clips_csv: Path, oof_csv: Path) -> OutOfFold:
    """Matched tables, the first of them read from `oof_csv`, beside what `clips_csv` knows of their clips.

    Raises BadInput where it knows nothing, or where the dataset has changed since.
    """
    truth = out_of_fold_truth(clips_csv, oof_csv, tables[0])
    if truth is None:
        raise BadInput(
            f"{clips_csv} has no checked labels of the out-of-fold clips: make blend without --fit needs none"
        )
    folds = read_clips(clips_csv).set_index("clip").loc[truth.clips, "fold"].to_numpy()
    return OutOfFold(tables, truth, folds)


def write_blend(places: Places, blended: Scores) -> None:
    """Write the submission of a blend, in the form of the dataset's sample where it is of these clips."""
    sample = read_sample(places.sample_csv)
    write_submission(places.submission(), blended, sample if sample and sample.clips == blended.clips else None)
    print(f"{len(blended.clips)} clips, {len(blended.labels)} labels: {places.submission()}")
