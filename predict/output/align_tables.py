"""Scores of several recipes or runs for the same clips: matched by names, weighed, shown, and written as one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from core.errors import UserError
from core.paths import RunPaths
from predict.decide.blend_weights import blend_tables, fit_weights
from predict.output.ground_truth import Truth, oof_truth, scores_in_truth_order
from predict.output.submission import read_sample, write_submission
from predict.output.summary import METRIC_NAMES
from preprocess.dataset.clip_table import read_clip_table
from train.evaluate.metrics import compute_metrics
from train.evaluate.score_table import ScoreTable

PRINTED_METRICS = ("lwlrap", "map", "accuracy")


def align_tables(names: Sequence[str], tables: Sequence[ScoreTable]) -> list[ScoreTable]:
    """The tables in the rows and columns of the first. Raises UserError for a clip or label that some lack."""
    first = tables[0]
    for name, table in zip(names, tables, strict=True):
        for kind, mine, theirs in (("clip", first.clips, table.clips), ("label", first.labels, table.labels)):
            if odd := sorted(set(mine) ^ set(theirs)):
                lacks, has = (names[0], name) if odd[0] in theirs else (name, names[0])
                raise UserError(
                    f"{lacks} has no scores of {kind} {odd[0]!r}, which {has} has: train and predict both on one DATA="
                )
    return [_reindex(table, first) for table in tables]


def _reindex(table: ScoreTable, first: ScoreTable) -> ScoreTable:
    row_of = {clip: row for row, clip in enumerate(table.clips)}
    column_of = {label: column for column, label in enumerate(table.labels)}
    rows, columns = [row_of[clip] for clip in first.clips], [column_of[label] for label in first.labels]
    return ScoreTable(first.clips, first.labels, table.values[np.ix_(rows, columns)])


def cross_fit_blend(tables: Sequence[np.ndarray], truth: np.ndarray, folds: np.ndarray, by: str) -> np.ndarray:
    """Blends [n_clips, n_labels] of out-of-fold scores, each fold's by weights fitted on the others' clips."""
    blended = np.empty_like(tables[0])
    for fold in np.unique(folds):
        in_fold = folds == fold
        weights = fit_weights([table[~in_fold] for table in tables], truth[~in_fold], by)
        blended[in_fold] = blend_tables(tables, by, weights)[in_fold]  # a rank is one among all clips
    return blended


@dataclass(frozen=True)
class OofTables:
    """Matched tables of out-of-fold scores, and the truth of the clips it is known of: noisy ones are not scored."""

    tables: Sequence[ScoreTable]
    truth: Truth
    folds: np.ndarray
    """int64 [n_clips] of the truth's clips."""

    @cached_property
    def scores(self) -> list[np.ndarray]:
        """Each table's scores float32 [n_clips, n_labels] in the truth's rows."""
        return [scores_in_truth_order(self.truth, table) for table in self.tables]

    def weights(self, by: str) -> np.ndarray:
        """Weights [n_tables] that are best on these clips."""
        return fit_weights(self.scores, self.truth.values, by)

    def blend(self, by: str) -> np.ndarray:
        """The blend [n_clips, n_labels] where no clip weighs the tables that it is scored by."""
        return cross_fit_blend(self.scores, self.truth.values, self.folds, by)

    def print_metrics(self, lines: Iterable[tuple[str, np.ndarray]]) -> None:
        """Print the metrics of scores [n_clips, n_labels], each before what it is called."""
        print(f"out of fold, {len(self.truth.clips)} clips:")
        truth = torch.from_numpy(self.truth.values)
        for name, values in lines:
            metrics_by_name = compute_metrics(truth, torch.from_numpy(values))
            cells = [
                f"{METRIC_NAMES[key]} {metrics_by_name[key]:.4f}" for key in PRINTED_METRICS if key in metrics_by_name
            ]
            print("  " + "  ".join([*cells, name]))


def join_truth(tables: Sequence[ScoreTable], clips_csv: Path, oof_csv: Path) -> OofTables:
    """Matched tables, the first of them read from `oof_csv`, beside what `clips_csv` knows of their clips.

    Raises UserError where it knows nothing, or where the dataset has changed since.
    """
    truth = oof_truth(clips_csv, oof_csv, tables[0])
    if truth is None:
        raise UserError(
            f"{clips_csv} has no checked labels of the out-of-fold clips: make blend without --fit needs none"
        )
    folds = read_clip_table(clips_csv).set_index("clip").loc[truth.clips, "fold"].to_numpy()
    return OofTables(tables, truth, folds)


def write_blend(run_paths: RunPaths, blended: ScoreTable) -> None:
    """Write the submission of a blend, in the form of the dataset's sample where it is of these clips."""
    sample = read_sample(run_paths.sample_csv)
    write_submission(run_paths.submission(), blended, sample if sample and sample.clips == blended.clips else None)
    print(f"{len(blended.clips)} clips, {len(blended.labels)} labels: {run_paths.submission()}")
