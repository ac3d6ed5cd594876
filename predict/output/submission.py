"""The CSVs of a submission: scores of clips, the windows behind them, the decisions; written whole, and checked."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import numpy as np
import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError
from core.files import atomic_write
from predict.inference.tagger import ClipPrediction
from predict.output.detections import DetectionFilter, has_duration
from preprocess.audio.recording_time import format_times
from preprocess.dataset.labels import join_labels
from train.evaluate.score_table import ScoreTable, write_scores

WINDOW_COLUMNS = ["clip", "start_s", "end_s", "label", "score"]
TIME_COLUMNS = ["start_time", "end_time"]
"""Behind the others, where it is known when a recording began."""
CHUNK_ROWS = 200_000
"""Of a table of windows, read at a time: it may be larger than the memory."""


@dataclass(frozen=True)
class SampleSubmission:
    """What a submission must look like: the dataset's sample_submission.csv."""

    id_column: str
    clips: list[str]
    labels: list[str]

    def check(self, clips: Iterable[str], labels: Iterable[str]) -> None:
        """Raise UserError for a clip that the sample does not list, and where the labels are not the sample's."""
        if unknown := sorted(set(clips) - set(self.clips)):
            raise UserError(f"clip {unknown[0]!r} is not in the sample submission: run make features again")
        if odd := sorted(set(labels) ^ set(self.labels)):
            raise UserError(
                f"label {odd[0]!r} is not in both the networks and the sample submission: run make train again"
            )


def read_sample(path: Path) -> SampleSubmission | None:
    """The sample submission, if the dataset has one."""
    if not path.exists():
        return None
    table = read_table(path)
    id_column, *labels = table.columns
    return SampleSubmission(id_column, list(table[id_column]), labels)


def align_to_sample(scores: ScoreTable, sample: SampleSubmission) -> tuple[ScoreTable, list[str]]:
    """`scores` in the sample's rows and columns, and the clips that had no score and got the mean of the others'.

    Raises UserError as its check does.
    """
    sample.check(scores.clips, scores.labels)
    table = pd.DataFrame(scores.values, scores.clips, scores.labels).reindex(sample.clips)[sample.labels]
    missing = table.index[table.isna().any(axis=1)].tolist()
    table = table.fillna(table.astype(np.float64).mean())
    return ScoreTable(sample.clips, sample.labels, table.to_numpy(np.float32)), missing


def write_submission(path: Path, scores: ScoreTable, sample: SampleSubmission | None) -> None:
    """Write a submission; scores that are aligned to a sample get its first column's name."""
    write_scores(path, scores.clips, scores.labels, scores.values, sample.id_column if sample else "clip")


def write_windows(
    path: Path,
    clip_predictions: Mapping[str, ClipPrediction],
    labels: Sequence[str],
    filters: DetectionFilter | None = None,
    *,
    wide: bool = False,
    start_times: Mapping[str, datetime] | None = None,
) -> None:
    """Write the windows of each clip that have a length: a row a window and label that `filters` select.

    `wide`: a row a window and a column a label, blank where it is not selected. Where any `start_times` of clips are
    given, TIME_COLUMNS follow, blank for clips without.
    """
    filters, start_times, names = filters or DetectionFilter(), start_times or {}, _quote(labels)
    header = [*(WINDOW_COLUMNS[:3] if wide else WINDOW_COLUMNS), *(names if wide else ())]
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as lines:
        lines.write(",".join([*header, *(TIME_COLUMNS if start_times else ())]) + "\n")
        for cell, (clip, prediction) in zip(_quote(clip_predictions), clip_predictions.items(), strict=True):
            selected = filters.select(prediction.windows).tolist()
            for row in np.flatnonzero(has_duration(prediction)):
                span_s = float(prediction.start_s[row]), float(prediction.end_s[row])
                times = format_times(start_times.get(clip), *span_s) if start_times else ()
                place, end = ",".join([cell, *(f"{each:.3f}" for each in span_s)]), ",".join(["", *times]) + "\n"
                scores = zip(names, prediction.windows[row].tolist(), selected[row], strict=True)
                if wide:
                    lines.write(place + "".join([f",{score:.6g}" if keep else "," for _, score, keep in scores]) + end)
                else:
                    lines.writelines([f"{place},{name},{score:.6g}{end}" for name, score, keep in scores if keep])


def _quote(names: Iterable[str]) -> list[str]:
    """Cells of a CSV, as csv.writer quotes them, which looks at the numbers as well and takes four times as long."""
    return ['"' + name.replace('"', '""') + '"' if set(name) & {*',"\r\n'} else name for name in names]


def read_windows(path: Path, clips: Collection[str], labels: Sequence[str]) -> dict[str, pd.DataFrame]:
    """The windows of some clips, from what `write_windows` wrote: by clip, a row a window and a column for each label.

    The index has start_s and end_s; a score that was not selected is NaN. Raises UserError for another table.
    """
    texts, parts = {"clip": "str", "label": "str"}, []
    try:
        with pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], chunksize=CHUNK_ROWS) as chunks:
            for chunk in chunks:
                part = chunk[chunk["clip"].isin(clips)].drop(columns=TIME_COLUMNS, errors="ignore")
                if list(part) == WINDOW_COLUMNS:
                    part = part.groupby(WINDOW_COLUMNS[:4])["score"].max().unstack()
                else:
                    part = part.set_index(WINDOW_COLUMNS[:3])
                parts.append(part.reindex(columns=list(labels)).astype("float64"))
        windows = pd.concat(parts).groupby(level=WINDOW_COLUMNS[:3]).max()
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} is no table of windows ({error}): run make predict again") from None
    return {str(clip): rows.droplevel("clip") for clip, rows in windows.groupby(level="clip")}


def iter_windows(path: Path, labels: Sequence[str]) -> Iterator[pd.DataFrame]:
    """Yield the rows of a table of windows that `write_windows` wrote in parts, as WINDOW_COLUMNS and TIME_COLUMNS.

    A table with a column a label is turned into rows; those without a score are left out. Raises UserError for another
    table.
    """
    texts = dict.fromkeys(["clip", "label", *TIME_COLUMNS], "str")
    try:
        header = pd.read_csv(path, nrows=0, dtype="str", keep_default_na=False).columns
        is_wide = [name for name in header if name not in TIME_COLUMNS] != WINDOW_COLUMNS
        n_rows = CHUNK_ROWS // max(len(labels), 1) + 1 if is_wide else CHUNK_ROWS  # a wide row becomes many
        with pd.read_csv(path, dtype=texts, keep_default_na=False, na_values=[""], chunksize=n_rows) as chunks:
            for chunk in chunks:
                part = chunk.reindex(columns=[*chunk.columns, *(set(TIME_COLUMNS) - set(header))])
                if is_wide:
                    part = part.melt([*WINDOW_COLUMNS[:3], *TIME_COLUMNS], list(labels), "its label", "its score")
                    part = part.rename(columns={"its label": "label", "its score": "score"})
                part = part[[*WINDOW_COLUMNS, *TIME_COLUMNS]].dropna(subset=["score"])
                yield part[part["label"].isin(labels)].astype(
                    {"start_s": "float64", "end_s": "float64", "score": "float64"}
                )
    except (KeyError, ValueError, OSError) as error:
        raise UserError(f"{path} is no table of windows ({error}): run make predict again") from None


def write_decisions(path: Path, scores: ScoreTable, decisions: np.ndarray) -> None:
    """Write the labels decided on as `clip,labels`; decisions is boolean [n_clips, n_labels]."""
    names = np.array(scores.labels, dtype=object)
    rows = zip(scores.clips, (join_labels(names[row]) for row in decisions), strict=True)
    write_table(path, ["clip", "labels"], rows)
