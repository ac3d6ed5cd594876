"""Which submission is meant, and what is known of its clips: from a truth table, or from the table of clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jsonargparse import ArgumentParser

from core.csv_tables import read_table
from core.entrypoint import log_warning
from core.errors import UserError
from predict.inference.input_files import input_suffix
from predict.output.provenance import changed_prediction_keys, source_name, why_stale
from preprocess.dataset.clip_table import read_clip_table
from preprocess.dataset.labels import join_labels, split_labels, to_multi_hot
from recipe.cli import Command
from train.evaluate.score_table import ScoreTable

ID_COLUMNS = ("clip", "fname", "filename")
LABELS_COLUMN = "labels"


@dataclass(frozen=True)
class Truth:
    """Labels present, float32 [n_clips, n_labels], a row a clip of `clips`."""

    clips: list[str]
    values: np.ndarray
    source: str
    """Where it was read, in words."""


def read_truth(path: Path, labels: Sequence[str]) -> Truth:
    """A truth table over `labels`: a clip column, and either `labels` (joined by ';' or ',') or a 0/1 column a label.

    Raises UserError that names the first clip, label or value that cannot be used.
    """
    table = read_table(path, hint="TRUTH= names a CSV with the columns clip and labels")
    id_column = next((name for name in ID_COLUMNS if name in table), table.columns[0])
    clips = list(table[id_column])
    if twice := table.loc[table[id_column].duplicated(), id_column].tolist():
        raise UserError(f"{path} names clip {twice[0]!r} twice: keep one row")
    if LABELS_COLUMN in table and LABELS_COLUMN not in labels:
        joined = [_join(text, labels) for text in table[LABELS_COLUMN]]
        values = to_multi_hot(joined, labels, clips=[f"{path}: clip {clip!r}" for clip in clips])
    else:
        values = _read_columns(path, table.drop(columns=id_column), clips, labels)
    return Truth(clips, values, str(path))


def _join(text: str, labels: Sequence[str]) -> str:
    """A cell's labels joined by ';'. A ',' separates labels too, unless it stands within a label that is known."""
    known = set(labels)
    parts = [[part] if part in known else part.split(",") for part in split_labels(text)]
    return join_labels(label.strip() for names in parts for label in names if label.strip())


def _read_columns(path: Path, table: pd.DataFrame, clips: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """Truth from a column a label, each value 0 or 1."""
    if odd := [name for name in labels if name not in table] or [name for name in table.columns if name not in labels]:
        fault = "is missing" if odd[0] in labels else "is no label of the submission"
        raise UserError(
            f"{path}: column {odd[0]!r} {fault}: "
            "put each clip's labels in one column 'labels', or give each of the submission's labels a 0/1 column"
        )
    values = table[list(labels)].map(str.strip)
    for row, column in np.argwhere(~values.isin(["0", "1", "0.0", "1.0"]).to_numpy()):
        raise UserError(f"{path}: clip {clips[row]!r}, {labels[column]!r} is {values.iat[row, column]!r}: use 0 or 1")
    return values.astype("float32").to_numpy()


def add_submission_options(parser: ArgumentParser) -> None:
    """Which submission, and what is known of its clips."""
    parser.add_argument("--truth", type=str | None, help="CSV of the truth; by default the labels in clips.csv.")
    parser.add_argument("--submission", type=str | None, help="CSV of the scores; by default the run's.")
    parser.add_argument("--input", type=str | None, help="The recordings it is of, where they are of no dataset.")


def submission_path(command: Command) -> Path:
    """The run's submission, of its dataset or of the recordings that `--input` names, unless `--submission` is said."""
    options = command.options
    of_input = input_suffix(Path(options.input)) + ".csv" if options.input else ".csv"
    return Path(options.get("submission") or command.run_paths.submission(of_input))


def warn_if_predicted_otherwise(command: Command, path: Path) -> None:
    """Say where the run's submission is not its networks', or was predicted otherwise than the recipe now says."""
    run_dir, options = command.run_paths.run_dir, command.options
    if not options.submission:
        warn_if_stale(run_dir, path, source_name(options.input))
    if keys := changed_prediction_keys(run_dir, path, command.recipe.prediction):
        warning = f"{path} was predicted with {keys}: give the same ARGS, or these decisions are not its own"
        log_warning(warning)


def warn_if_stale(run_dir: Path, path: Path, source: str | None = None) -> None:
    """Say where a submission may not be what a run's networks answer."""
    if reason := why_stale(run_dir, path, source):
        log_warning(f"{path} {reason}: run make predict again")


def find_truth(truth_csv: str | None, clips_csv: Path | None, scores: ScoreTable) -> Truth | None:
    """The truth of a submission: a truth table with exactly its clips, or failing one what the table of clips knows.

    Raises UserError that names the first clip in only one of the two.
    """
    if not truth_csv:
        return truth_from_clip_table(read_clip_table(clips_csv), scores, str(clips_csv)) if clips_csv else None
    truth = read_truth(Path(truth_csv), scores.labels)
    for clips, others, fault in (
        (scores.clips, truth.clips, f"of the submission has no row in {truth_csv}"),
        (truth.clips, scores.clips, f"of {truth_csv} has no row in the submission"),
    ):
        if absent := sorted(set(clips) - set(others)):
            raise UserError(f"clip {absent[0]!r} {fault} (one of {len(absent)}): give the truth of the clips predicted")
    return truth


def truth_from_clip_table(table: pd.DataFrame, scores: ScoreTable, source: str) -> Truth | None:
    """The labels that the table of clips has for the clips of a submission; None where it knows none of them.

    Noisy labels are no truth. Raises UserError for a submission's clip that is not in the table.
    """
    listed = table.set_index("clip")
    if unknown := [clip for clip in scores.clips if clip not in listed.index]:
        raise UserError(
            f"clip {unknown[0]!r} of the submission is not in {source}: it is another dataset's, give TRUTH="
        )
    rows = listed.loc[scores.clips]
    rows = rows[(rows["labels"] != "") & (rows["label_quality"] == "curated")]
    if rows.empty:
        return None
    return Truth(list(rows.index), to_multi_hot(rows["labels"], scores.labels, clips=rows.index), source)


def oof_truth(clips_csv: Path, oof_csv: Path, scores: ScoreTable) -> Truth | None:
    """The labels of the clips of a run's out-of-fold scores. Raises UserError where the dataset has changed since."""
    table = read_clip_table(clips_csv)
    if gone := sorted(set(scores.clips) - set(table["clip"])):
        raise UserError(f"{oof_csv} is of other clips than {clips_csv}, {gone[0]!r} for one: run make train again")
    return truth_from_clip_table(table, scores, str(clips_csv))


def scores_in_truth_order(truth: Truth, scores: ScoreTable) -> np.ndarray:
    """The submission's scores in the truth's rows, float32 [n_clips, n_labels]."""
    row_of = {clip: row for row, clip in enumerate(scores.clips)}
    return scores.values[[row_of[clip] for clip in truth.clips]]
