"""Which submission is meant, and what is known of its clips: from a truth table, or from the table of clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jsonargparse import ArgumentParser

from core.csv_tables import read_table
from core.entrypoint import warn
from core.errors import BadInput
from predict.inference.input_files import suffix_of
from predict.output.provenance import doubt_of, predicted_with, source_name
from preprocess.dataset.clip_table import read_clips
from preprocess.dataset.labels import encode, join_labels, split_labels
from recipe.cli import Command
from train.evaluate.score_table import Scores

ID_COLUMNS = ("clip", "fname", "filename")
JOINED = "labels"


@dataclass(frozen=True)
class Truth:
    """Labels present, float32 [n_clips, n_labels], a row a clip of `clips`."""

    clips: list[str]
    values: np.ndarray
    source: str
    """Where it was read, in words."""


def read_truth(path: Path, labels: Sequence[str]) -> Truth:
    """A truth table over `labels`: a clip column, and either `labels` (joined by ';' or ',') or a 0/1 column a label.

    Raises BadInput that names the first clip, label or value that cannot be used.
    """
    table = read_table(path, hint="TRUTH= names a CSV with the columns clip and labels")
    id_column = next((name for name in ID_COLUMNS if name in table), table.columns[0])
    clips = list(table[id_column])
    if twice := table.loc[table[id_column].duplicated(), id_column].tolist():
        raise BadInput(f"{path} names clip {twice[0]!r} twice: keep one row")
    if JOINED in table and JOINED not in labels:
        joined = [_join(text, labels) for text in table[JOINED]]
        values = encode(joined, labels, clips=[f"{path}: clip {clip!r}" for clip in clips])
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
        raise BadInput(
            f"{path}: column {odd[0]!r} {fault}: "
            "put each clip's labels in one column 'labels', or give each of the submission's labels a 0/1 column"
        )
    values = table[list(labels)].map(str.strip)
    for row, column in np.argwhere(~values.isin(["0", "1", "0.0", "1.0"]).to_numpy()):
        raise BadInput(f"{path}: clip {clips[row]!r}, {labels[column]!r} is {values.iat[row, column]!r}: use 0 or 1")
    return values.astype("float32").to_numpy()


def add_submission_options(parser: ArgumentParser) -> None:
    """Which submission, and what is known of its clips."""
    parser.add_argument("--truth", type=str | None, help="CSV of the truth; by default the labels in clips.csv.")
    parser.add_argument("--submission", type=str | None, help="CSV of the scores; by default the run's.")
    parser.add_argument("--input", type=str | None, help="The recordings it is of, where they are of no dataset.")


def submission_path(command: Command) -> Path:
    """The run's submission, of its dataset or of the recordings that `--input` names, unless `--submission` is said."""
    options = command.options
    of_input = suffix_of(Path(options.input)) + ".csv" if options.input else ".csv"
    return Path(options.get("submission") or command.places.submission(of_input))


def warn_of_other_prediction(command: Command, path: Path) -> None:
    """Say where the run's submission is not its networks', or was predicted otherwise than the recipe now says."""
    home, options = command.places.run_home, command.options
    if not options.submission:
        warn_of_doubt(home, path, source_name(options.input))
    if keys := predicted_with(home, path, command.recipe.prediction):
        warning = f"{path} was predicted with {keys}: give the same ARGS, or these decisions are not its own"
        warn(warning)


def warn_of_doubt(run_home: Path, path: Path, source: str | None = None) -> None:
    """Say where a submission may not be what a run's networks answer."""
    if doubt := doubt_of(run_home, path, source):
        warn(f"{path} {doubt}: run make predict again")


def find_truth(truth_csv: str | None, clips_csv: Path | None, scores: Scores) -> Truth | None:
    """The truth of a submission: a truth table with exactly its clips, or failing one what the table of clips knows.

    Raises BadInput that names the first clip in only one of the two.
    """
    if not truth_csv:
        return known_truth(read_clips(clips_csv), scores, str(clips_csv)) if clips_csv else None
    truth = read_truth(Path(truth_csv), scores.labels)
    for clips, others, fault in (
        (scores.clips, truth.clips, f"of the submission has no row in {truth_csv}"),
        (truth.clips, scores.clips, f"of {truth_csv} has no row in the submission"),
    ):
        if absent := sorted(set(clips) - set(others)):
            raise BadInput(f"clip {absent[0]!r} {fault} (one of {len(absent)}): give the truth of the clips predicted")
    return truth


def known_truth(table: pd.DataFrame, scores: Scores, source: str) -> Truth | None:
    """The labels that the table of clips has for the clips of a submission; None where it knows none of them.

    Noisy labels are no truth. Raises BadInput for a submission's clip that is not in the table.
    """
    listed = table.set_index("clip")
    if strange := [clip for clip in scores.clips if clip not in listed.index]:
        raise BadInput(
            f"clip {strange[0]!r} of the submission is not in {source}: it is another dataset's, give TRUTH="
        )
    rows = listed.loc[scores.clips]
    rows = rows[(rows["labels"] != "") & (rows["trust"] == "curated")]
    if rows.empty:
        return None
    return Truth(list(rows.index), encode(rows["labels"], scores.labels, clips=rows.index), source)


def out_of_fold_truth(clips_csv: Path, oof_csv: Path, scores: Scores) -> Truth | None:
    """The labels of the clips of a run's out-of-fold scores. Raises BadInput where the dataset has changed since."""
    table = read_clips(clips_csv)
    if gone := sorted(set(scores.clips) - set(table["clip"])):
        raise BadInput(f"{oof_csv} is of other clips than {clips_csv}, {gone[0]!r} for one: run make train again")
    return known_truth(table, scores, str(clips_csv))


def match_rows(truth: Truth, scores: Scores) -> np.ndarray:
    """The submission's scores in the truth's rows, float32 [n_clips, n_labels]."""
    row_of = {clip: row for row, clip in enumerate(scores.clips)}
    return scores.values[[row_of[clip] for clip in truth.clips]]
