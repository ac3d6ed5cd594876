"""Which submission is meant, and what is known of its clips: from a truth table, or from the table of clips."""

from core.entrypoint import log_warning

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from jsonargparse import ArgumentParser

from core.csv_tables import read_rows, read_table
from core.errors import UserError
from core.paths import FAILED_NAME, SUBMISSION_NAME, RunPaths
from preprocess.dataset.annotations.reader import RecordingNames, read_annotations
from preprocess.dataset.annotations.table_formats import parse_events
from preprocess.dataset.clip_table import DIGEST_COLUMN
from preprocess.dataset.discovery import join_clean_labels, normalize_label
from preprocess.dataset.label_cells import parse_label_cells
from preprocess.dataset.labels import TRAIN_AGAIN, to_multi_hot
from recipe.cli import Command
from train.data.corrected_clips import CorrectedClips
from train.evaluate.score_table import ScoreTable, read_scores
from train.runs.checkpoint import load_checkpoint
from train.runs.run_folder import find_best_checkpoints
from train.runs.seen_clips import find_replaced_clip

ID_COLUMNS = ("clip", "fname", "filename")
LABELS_COLUMN = "labels"
TRUTH_HINT = "TRUTH= names a CSV with the columns clip and labels, or a table of events or a folder of them"


def read_truth(path: Path, labels: list[str]) -> pd.DataFrame:
    """A truth table: 0 or 1 of each of `labels` (a column) for each clip (a row).

    The file has a clip column, and either `labels` (as preprocess.dataset.label_cells reads them) or a 0/1 column a
    label. Raises UserError that names the first clip, label or value that cannot be used.
    """
    table = read_table(path, hint=TRUTH_HINT).rename(columns=normalize_label)
    table = table.set_index(next((name for name in ID_COLUMNS if name in table), table.columns[0]))
    if len(twice := table.index[table.index.duplicated()]):
        raise UserError(f"{path} names clip {twice[0]!r} twice: keep one row")
    if LABELS_COLUMN not in table or LABELS_COLUMN in labels:
        return _read_columns(path, table, labels)
    cells, _ = parse_label_cells(path, table.index, table[LABELS_COLUMN], labels)
    joined = [join_clean_labels(f"{path}, {clip}", found) for clip, found in zip(table.index, cells, strict=True)]
    advice = "the submission has no scores of it, correct it or take it out"
    values = to_multi_hot(joined, labels, clips=[f"{path}: clip {clip!r}" for clip in table.index], advice=advice)
    return pd.DataFrame(values, table.index, labels)


def _read_columns(path: Path, table: pd.DataFrame, labels: list[str]) -> pd.DataFrame:
    """Truth from a column a label, each value 0 or 1."""
    if odd := [name for name in labels if name not in table] or [name for name in table.columns if name not in labels]:
        fault = "is missing" if odd[0] in labels else "is no label of the submission"
        raise UserError(
            f"{path}: column {odd[0]!r} {fault}: "
            "put each clip's labels in one column 'labels', or give each of the submission's labels a 0/1 column"
        )
    values = table[labels].map(str.strip)
    for row, column in np.argwhere(~values.isin(["0", "1", "0.0", "1.0"]).to_numpy()):
        clip, value = values.index[row], values.iat[row, column]
        raise UserError(f"{path}: clip {clip!r}, {labels[column]!r} is {value!r}: use 0 or 1")
    return values.astype("float32")


def add_submission_options(parser: ArgumentParser) -> None:
    """Which submission, and what is known of its clips."""
    parser.add_argument(
        "--truth", type=str, help="CSV of the truth, or table of its events; by default the labels in clips.csv."
    )
    parser.add_argument("--submission", type=str, help="CSV of the scores; by default the run's.")
    parser.add_argument("--input", type=str, help="The recordings it is of, where they are of no dataset.")


def submission_path(command: Command) -> Path:
    """The CSV that `--submission` names, or else the run's, of its dataset or of the recordings of `--input`."""
    submission, source = command.options.get("submission"), command.options.input
    return Path(submission) if submission else submission_of_run(command.run_paths, source)


def submission_of_run(run_paths: RunPaths, source: str | None) -> Path:
    """The CSV of a run's scores, of its dataset or of the recordings at `source`."""
    return run_paths.input_dir(Path(source)) / SUBMISSION_NAME if source else run_paths.submission_csv


def find_truth(path: Path, submission: Path, scores: ScoreTable) -> np.ndarray:
    """The truth of the clips of `scores` [n_clips, n_labels], by a truth table.

    It may also have recordings that could not be read. Raises UserError that names the first other clip in only one of
    the two.
    """
    truth, unread = read_truth(path, scores.labels), read_unread(submission)
    truth.index = pd.Index(match_names(truth.index.tolist(), list(dict.fromkeys([*scores.clips, *unread]))))
    for names, others, fault in (
        (scores.clips, truth.index, f"of the submission has no row in {path}"),
        (truth.index, [*scores.clips, *unread], f"of {path} has no row in the submission"),
    ):
        if absent := sorted(set(names) - set(others)):
            raise UserError(f"clip {absent[0]!r} {fault} (one of {len(absent)}): give the truth of the clips predicted")
    _warn_of_unread(path, truth.index, scores)
    return truth.loc[scores.clips].to_numpy()


def read_event_truth(path: Path, submission: Path, scores: ScoreTable) -> pd.DataFrame | None:
    """The events of a truth in time: a row an event, with fname (a clip of `scores`), start_s, end_s and label.

    It is a table of events or a folder of such, as preprocess.dataset.annotations reads them; None if it is a table of
    clips. Events of recordings that could not be read are left out. Raises UserError for one that is not known.
    """
    if not path.is_dir():
        rows = read_rows(path, TRUTH_HINT, tabs_first=True)
        if not rows or parse_events(path, rows, path.stem, {}) is None:
            return None
    recordings = list(dict.fromkeys([*scores.clips, *read_unread(submission)]))
    annotations = read_annotations(path, None, recordings, TRUTH_HINT)
    if other := annotations.left_out:
        log_warning(f"{len(other)} files of {path} are no tables of events of these clips, the first {other[0].name!r}")
    for warning in annotations.warnings:
        log_warning(warning)
    _warn_of_unread(path, annotations.fnames, scores)
    return annotations.events[annotations.events["fname"].isin(scores.clips)]


def read_unread(submission: Path) -> list[str]:
    """The recordings that could not be read, which failed.csv beside a submission names."""
    failed = submission.with_name(FAILED_NAME)
    return read_table(failed, ["clip"])["clip"].tolist() if failed.exists() else []


def _warn_of_unread(path: Path, clips: Iterable[str], scores: ScoreTable) -> None:
    """Warn of clips of the truth at `path` that have no scores."""
    if unread := sorted(set(clips).difference(scores.clips)):
        log_warning(f"{len(unread)} recordings of {path} could not be read and are left out, the first {unread[0]!r}")


def truth_of_events(events: pd.DataFrame, scores: ScoreTable) -> np.ndarray:
    """The truth of clips [n_clips, n_labels]: the labels of their events, as `find_truth`."""
    labels_by_clip = events.groupby("fname")["label"].unique()
    found = [labels_by_clip.get(clip, ()) for clip in scores.clips]
    return np.array([[label in some for label in scores.labels] for some in found], np.float32)


def match_names(names: Sequence[str], clips: Sequence[str]) -> list[str]:
    """The clip that each name means, or else the name itself.

    A table of another program may name clips in another form of Unicode, without their folder, or without or with
    another ending. A name that may mean two clips, and names that mean the same one, mean none.
    """
    known = RecordingNames(clips)
    found = {name: clips_found[0] for name in names if len(clips_found := known.find(name)) == 1}
    n_names = Counter(found.values())
    return [found[name] if name in found and n_names[found[name]] == 1 else name for name in names]


def truth_of_clips(
    clips: CorrectedClips, scores: ScoreTable, advice: str = "it is another dataset's, give TRUTH="
) -> np.ndarray:
    """The curated labels that the table of clips has for the clips of `scores`, as `find_truth`; NaN where it has none.

    Raises UserError, with `advice`, for a clip that is not in the table.
    """
    table = clips.table.set_index("clip")
    if unknown := sorted(set(scores.clips) - set(table.index)):
        raise UserError(f"clip {unknown[0]!r} of the scores is not in the dataset's clips.csv: {advice}")
    rows = table.loc[scores.clips]
    known = ((rows["labels"] != "") & (rows["label_quality"] == "curated")).to_numpy()
    truth = np.full_like(scores.values, np.nan)
    truth[known] = to_multi_hot(rows["labels"][known], scores.labels, clips=rows.index[known], advice=TRAIN_AGAIN)
    return truth


def read_oof_scores(run_paths: RunPaths, clips: CorrectedClips) -> tuple[ScoreTable, np.ndarray]:
    """A run's out-of-fold scores of the clips that count and have checked labels, and their truth [n_clips, n_labels].

    Raises UserError where they are of other clips, or of other recordings.
    """
    names, digests = clips.table["clip"].tolist(), clips.table[DIGEST_COLUMN].tolist()
    for path in find_best_checkpoints(run_paths.run_dir):
        if clip := find_replaced_clip(names, digests, load_checkpoint(path).trained_frames):
            raise UserError(
                f"{run_paths.oof_csv}: clip {clip!r} has other frames now, of another recording or other features: run "
                "make train again, or give a recipe of other features a --name of its own"
            )
    scores = read_scores(run_paths.oof_csv).without(clips.dropped)
    truth = truth_of_clips(clips, scores, f"{run_paths.oof_csv} is of other clips, run make train again")
    known = ~np.isnan(truth[:, 0])
    checked = [clip for clip, is_known in zip(scores.clips, known, strict=True) if is_known]
    return ScoreTable(checked, scores.labels, scores.values[known]), truth[known]
