"""The CSVs of a submission: scores of clips, the windows behind them, the decisions; written whole, and checked."""

import csv
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import numpy as np

from core.csv_tables import read_table, write_table
from core.errors import UserError
from core.files import atomic_write
from predict.inference.tagger import ClipPrediction
from predict.output.detections import DetectionFilter, has_duration
from preprocess.dataset.labels import join_labels
from train.evaluate.score_table import ScoreTable, read_scores, write_scores

CENTER_SUFFIX = "_centre.csv"
"""Of the scores by each clip's middle window alone."""
WINDOW_COLUMNS = ["clip", "start_s", "end_s", "label", "score"]


@dataclass(frozen=True)
class SampleSubmission:
    """What a submission must look like: the dataset's sample_submission.csv."""

    id_column: str
    clips: list[str]
    labels: list[str]


def read_sample(path: Path) -> SampleSubmission | None:
    """The sample submission, if the dataset has one."""
    if not path.exists():
        return None
    table = read_table(path)
    id_column, *labels = table.columns
    return SampleSubmission(id_column, list(table[id_column]), labels)


def align_to_sample(scores: ScoreTable, sample: SampleSubmission) -> tuple[ScoreTable, list[str]]:
    """`scores` in the sample's rows and columns, and the clips that had no score and got the mean of the others'.

    Raises UserError for a clip that the sample does not list, and where the labels are not the sample's.
    """
    wanted = set(sample.clips)
    if unknown := [clip for clip in scores.clips if clip not in wanted]:
        raise UserError(f"clip {unknown[0]!r} is not in the sample submission: run make features again")
    if odd := sorted(set(scores.labels) ^ set(sample.labels)):
        raise UserError(f"label {odd[0]!r} is not in both the networks and the sample submission: run make train again")
    columns = [scores.labels.index(label) for label in sample.labels]
    row_of = {clip: row for row, clip in enumerate(scores.clips)}
    mean = scores.values.mean(axis=0, dtype=np.float64).astype(np.float32)
    rows = [scores.values[row_of[clip]] if clip in row_of else mean for clip in sample.clips]
    missing = [clip for clip in sample.clips if clip not in row_of]
    return ScoreTable(sample.clips, sample.labels, np.stack(rows)[:, columns]), missing


def check_run_name_free(run_dir: Path, members: Sequence[str]) -> None:
    """Raise UserError where a blend of that run's name would replace what networks answered."""
    run = run_dir.name
    if run in members or any(run_dir.glob("fold*")):
        raise UserError(f"--run {run} is a run of its own and would be replaced: name the blend, RUN=other")


def write_submission(path: Path, scores: ScoreTable, sample: SampleSubmission | None) -> None:
    """Write a submission; it gets its final name once it has been read back and found to be the sample's shape."""
    with atomic_write(path) as temporary:
        id_column = sample.id_column if sample else "clip"
        write_scores(temporary, scores.clips, scores.labels, scores.values, id_column)
        check_submission(temporary, sample)


def check_submission(path: Path, sample: SampleSubmission | None) -> ScoreTable:
    """The scores of a submission.

    Raises UserError unless rows, columns and order are the sample's, values in [0, 1].
    """
    scores = read_scores(path)
    if sample:
        _check_order(path, "row", scores.clips, sample.clips)
        _check_order(path, "column", scores.labels, sample.labels)
    return scores


def _check_order(path: Path, kind: str, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise UserError naming the first place where two lists of names differ."""
    for number, (name, right) in enumerate(zip(found, wanted, strict=False), start=1):
        if name != right:
            raise UserError(f"{path}: {kind} {number} is {name!r}, in the sample submission {right!r}: predict again")
    if len(found) != len(wanted):
        raise UserError(f"{path} has {len(found)} {kind}s, the sample submission {len(wanted)}: predict again")


def read_submission(path: Path) -> ScoreTable:
    """A submission's scores. Raises UserError when it is not there yet, or is no table of scores."""
    if not path.exists():
        raise UserError(f"{path} is not there: run make predict first, or name another run with RUN=")
    return read_scores(path)


def write_windows(
    path: Path,
    clip_predictions: Mapping[str, ClipPrediction],
    labels: Sequence[str],
    filters: DetectionFilter | None = None,
) -> None:
    """Write the windows of each clip as `clip,start_s,end_s,label,score`, a row a window and label that is shown."""
    # All rows of a window by one format: half the time of formatting them one by one.
    endings = [f",{_as_cell(label)},".replace("%", "%%") + "%.6g\n" for label in labels]
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        lines.write(",".join(WINDOW_COLUMNS) + "\n")
        for clip, clip_prediction in clip_predictions.items():
            for start, scores, here in _window_rows(clip, clip_prediction, filters):
                if here.any():
                    start = start.replace("%", "%%")
                    rows = start + start.join(itertools.compress(endings, here))
                    lines.write(rows % tuple(scores[here].tolist()))


def write_windows_wide(
    path: Path,
    clip_predictions: Mapping[str, ClipPrediction],
    labels: Sequence[str],
    filters: DetectionFilter | None = None,
) -> None:
    """Write the windows of each clip as `clip,start_s,end_s,<label>,<label>…`, a row a window; what is not shown is
    blank.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        lines.write(",".join([*WINDOW_COLUMNS[:3], *map(_as_cell, labels)]) + "\n")
        for clip, clip_prediction in clip_predictions.items():
            for start, scores, here in _window_rows(clip, clip_prediction, filters):
                cells = [
                    f"{score:.6g}" if is_shown else "" for score, is_shown in zip(scores.tolist(), here, strict=True)
                ]
                lines.write(",".join([start, *cells]) + "\n")


def _window_rows(
    clip: str, clip_prediction: ClipPrediction, filters: DetectionFilter | None
) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """Of each window that has a length what its rows begin with, its scores [n_labels], and which of them are shown.

    Times are in milliseconds, finer than a window's place is known.
    """
    cell = _as_cell(clip)
    selected = filters.select(clip_prediction.windows) if filters else np.ones(clip_prediction.windows.shape, bool)
    times = zip(clip_prediction.start_s.tolist(), clip_prediction.end_s.tolist(), strict=True)
    windows = zip(times, clip_prediction.windows, selected, strict=True)
    for (start_s, end_s), scores, here in itertools.compress(windows, has_duration(clip_prediction)):
        yield f"{cell},{start_s:.3f},{end_s:.3f}", scores, here


def _as_cell(text: str) -> str:
    """A cell of a CSV, in quotes where it needs them."""
    line = StringIO()
    # With lines that end in nothing, Python 3.11's writer leaves line breaks unquoted.
    breaks = "\n" in text or "\r" in text
    csv.writer(line, quoting=csv.QUOTE_ALL if breaks else csv.QUOTE_MINIMAL, lineterminator="").writerow([text])
    return line.getvalue()


def write_decisions(path: Path, scores: ScoreTable, decisions: np.ndarray) -> None:
    """Write the labels decided on as `clip,labels`; decisions is boolean [n_clips, n_labels]."""
    names = np.array(scores.labels, dtype=object)
    write_table(
        path, ["clip", "labels"], zip(scores.clips, (join_labels(names[row]) for row in decisions), strict=True)
    )
