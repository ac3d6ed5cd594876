"""Formats of tables of events: whose columns say from when to when a recording has a label, and label tracks."""

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from core.errors import UserError
from preprocess.dataset.discovery import join_clean_labels
from preprocess.dataset.labels import split_labels

COLUMN_KEYS = ("filename", "start_s", "end_s", "duration_s", "label", "score")
"""What a column may be for, in data.columns."""
MAX_EARLY_S = 1e-3
"""Times are often written to the millisecond: an event may begin so much before its recording."""
NO_DETECTION = "nocall"
"""What BirdNET writes for a label in the table of a recording in which it detects nothing."""
SCORED_LABEL = re.compile(r"(.*\S)(?: (?=\d\.\d{3}\Z)|\t)(0?\.\d+|1\.0+)", re.DOTALL)
ADVICE = (
    "it is no Raven selection table, Audacity label track, DCASE TSV or Kaleidoscope CSV: call its columns fname, "
    "start_s, end_s and label, or name a dataset's with data.columns, as {filename: file, start_s: begin, end_s: end, "
    "label: species}"
)


class Event(NamedTuple):
    """A label from `start_s` to `end_s` in a recording, in seconds from its beginning."""

    fname: str
    start_s: float
    end_s: float
    label: str
    score: float
    """NaN where the table has none."""
    where: str
    """The table and the line, for messages."""


RAVEN = "begin time (s)"
FORMATS: dict[str, dict[str, tuple[str, ...]]] = {
    RAVEN: {
        "filename": ("Begin Path", "Begin File"),
        "start_s": ("Begin Time (s)",),
        "end_s": ("End Time (s)",),
        "file_offset_s": ("File Offset (s)",),
        "label": ("Label", "Annotation", "Species", "Class", "Common Name", "Species Code", "Call Type", "Type", "Tag"),
        "score": ("Score", "Confidence"),
        "begin_file": ("Begin File",),
        "end_file": ("End File",),
        "selection": ("Selection",),
        "view": ("View",),
    },
    "onset": {  # DCASE
        "filename": ("filename", "file_name", "fname"),
        "start_s": ("onset",),
        "end_s": ("offset",),
        "label": ("event_label", "label"),
        "score": ("score",),
    },
    "in file": {  # Kaleidoscope
        "folder": ("FOLDER",),
        "filename": ("IN FILE",),
        "start_s": ("OFFSET",),
        "duration_s": ("DURATION",),
        "label": ("MANUAL ID", "AUTO ID", "TOP1MATCH"),
        "score": ("SCORE",),
    },
    "start_s": {
        "filename": ("fname", "filename", "file_name", "clip"),
        "start_s": ("start_s",),
        "end_s": ("end_s",),
        "duration_s": ("duration_s",),
        "label": ("label", "labels"),
        "score": ("score",),
    },
}
"""Tables with a header, by the column that tells each format: names of columns, letter case does not matter, by
COLUMN_KEYS and what is one format's own. The first column of a key that is there and not blank in a row counts."""


def parse_events(
    path: Path, rows: Sequence[tuple[int, list[str]]], fname: str, columns: Mapping[str, str]
) -> tuple[list[Event], dict[str, str], list[str]] | None:
    """The events of a table, each recording that it names by its first line, and warnings; None if it has no events'
    columns.

    `rows` are of core.csv_tables.read_rows. `fname` is the recording of a table that names none; it is named even by an
    empty table. `columns` are the table's own names for COLUMN_KEYS. Raises UserError that names the file and the line.
    """
    if not rows:
        return [], {fname: str(path)}, []
    if _is_label_track(rows[0][1]):
        return list(_parse_label_track(path, rows, fname)), {fname: str(path)}, []
    header = {_fold_name(name): column for column, name in reversed(list(enumerate(rows[0][1])))}
    names_by_key = _find_format(header, columns)
    if names_by_key is None:
        return None
    table = _Table(path, header, len(rows[0][1]), names_by_key, fname)
    for key in ("start_s", "label", *(["end_s"] if not table.has("duration_s") else [])):
        if rows[1:] and not table.has(key):
            names = " or ".join(names_by_key.get(key) or [key])
            shown = ", ".join(name.strip() for name in rows[0][1] if name.strip())
            raise UserError(f"{path} has no column {names}, only {shown}: name it in the header, or with data.columns")
    cells = [(f"{path} line {line}", table.pad(line, row)) for line, row in rows[1:]]
    named = dict[str, str]() if table.has("filename") else {fname: str(path)}
    for where, row in cells:
        if not table.fname(row):
            raise UserError(f"{where} names no recording: name it, or take the line out")
        named.setdefault(table.fname(row), where)
    warnings = table.describe_offsets(cells) if len(named) > 1 and "file_offset_s" in names_by_key else []
    return [event for where, row in table.drop_views(cells) for event in table.parse_row(where, row)], named, warnings


def _fold_name(name: str) -> str:
    """A column's name in lower case, without the asterisk that Kaleidoscope puts behind some."""
    return name.strip().rstrip("*").lower()


def _find_format(header: Mapping[str, int], columns: Mapping[str, str]) -> dict[str, tuple[str, ...]] | None:
    """The names of a table's columns by key: those of `columns`, before those of the format that the header is of."""
    named = {key: (name,) for key, name in columns.items()}
    if "start_s" in columns:
        is_named = any(_fold_name(name) in header for name in columns.values())
        is_raven = _fold_name(columns["start_s"]) == RAVEN
        return FORMATS[RAVEN if is_raven else "start_s"] | named if is_named else None
    return next((names | named for marker, names in FORMATS.items() if marker in header), None)


class _Table:
    """How the rows of one table with a header become events."""

    def __init__(
        self, path: Path, header: Mapping[str, int], n_columns: int, names: Mapping[str, Sequence[str]], fname: str
    ) -> None:
        self._path, self._fname, self._n_columns = path, fname, n_columns
        self._columns = {
            key: [header[_fold_name(name)] for name in each if _fold_name(name) in header]
            for key, each in names.items()
        }

    def has(self, key: str) -> bool:
        """Whether the table has a column for a key."""
        return bool(self._columns.get(key))

    def pad(self, line: int, row: list[str]) -> list[str]:
        """The row with as many cells as the header has: editors cut off blank ones. Raises UserError for more."""
        if any(cell.strip() for cell in row[self._n_columns :]):
            raise UserError(
                f"{self._path} line {line} has {len(row)} fields and the header {self._n_columns}: put fields that "
                "hold a comma in double quotes"
            )
        return [cell.strip() for cell in row[: self._n_columns]] + [""] * (self._n_columns - len(row))

    def cell(self, row: Sequence[str], key: str) -> str:
        return next((row[column] for column in self._columns.get(key, []) if row[column]), "")

    def fname(self, row: Sequence[str]) -> str:
        """The recording of a row; '' where it names none."""
        folder, name = self.cell(row, "folder"), self.cell(row, "filename")
        if not self.has("filename"):
            return self._fname
        return "/".join(filter(None, [folder.rstrip("/\\"), name])) if name else ""

    def drop_views(self, rows: Iterable[tuple[str, list[str]]]) -> Iterator[tuple[str, list[str]]]:
        """The rows, those once that show one selection of Raven in several views or channels."""
        if not (self.has("selection") and self.has("view")):
            yield from rows
            return
        rows, seen = list(rows), set[tuple[str, ...]]()
        labelled = {self._place(row) for _, row in rows if self.cell(row, "label")}
        for where, row in rows:
            place, label = self._place(row), self.cell(row, "label")
            if (label or place not in labelled) and (*place, label) not in seen:
                seen.add((*place, label))
                yield where, row

    def describe_offsets(self, rows: Iterable[tuple[str, list[str]]]) -> list[str]:
        """A sentence on the first row of Raven whose time may count from the beginning of another recording."""
        found = (where for where, row in rows if self.cell(row, "start_s") and not self.cell(row, "file_offset_s"))
        return [
            f"{where}: Begin Time (s) is read as of its own recording, but Raven counts from the first of several: "
            "save the table with the column File Offset (s)"
            for where in islice(found, 1)
        ]

    def _place(self, row: Sequence[str]) -> tuple[str, ...]:
        return (self.cell(row, "selection"), self.fname(row), self.cell(row, "start_s"), self.cell(row, "end_s"))

    def parse_row(self, where: str, row: Sequence[str]) -> Iterator[Event]:
        """The events of a row, one a label; none where the row says that there is none. Raises UserError."""
        texts = {key: self.cell(row, key) for key in ("start_s", "end_s", "duration_s", "label", "score")}
        if not any(texts.values()) and self.has("filename"):
            return
        start_s = parse_number(where, "begin", texts["start_s"])
        if texts["end_s"] or not self.has("duration_s"):
            end_s = parse_number(where, "end", texts["end_s"])
        else:
            end_s = start_s + parse_number(where, "duration", texts["duration_s"])
        if offset := self.cell(row, "file_offset_s"):  # times of Raven count from the first of several recordings
            first_s = parse_number(where, "file offset", offset)
            start_s, end_s = first_s, first_s + end_s - start_s
        first, last = self.cell(row, "begin_file"), self.cell(row, "end_file")
        if first and last and first != last:
            raise UserError(
                f"{where}: the selection begins in {first} and ends in {last}: split it where {last} begins"
            )
        score = parse_number(where, "score", texts["score"]) if texts["score"] else math.nan
        yield from make_events(where, self.fname(row), start_s, end_s, texts["label"], score)


def _is_label_track(row: Sequence[str]) -> bool:
    """Whether a first line begins with two numbers, as one of an Audacity label track."""
    try:
        return len(row) > 1 and all(math.isfinite(_to_float(cell)) for cell in row[:2])
    except ValueError:
        return False


def _parse_label_track(path: Path, rows: Iterable[tuple[int, list[str]]], fname: str) -> Iterator[Event]:
    r"""The events of lines `start\tend\tlabel`; a line `\\tlow\thigh` below one has its frequencies.

    A score of three decimals that ends a label, as make predict writes it, is no part of the label, nor is one in a
    field of its own, as BirdNET writes it.
    """
    for line, row in rows:
        if row[0].strip() == "\\":
            continue
        where, cells = f"{path} line {line}", [*map(str.strip, row), "", ""]
        start_s, end_s = (parse_number(where, name, cell) for name, cell in zip(("begin", "end"), cells, strict=False))
        text = "\t".join(filter(None, cells[2:]))
        scored = SCORED_LABEL.fullmatch(text)
        label, score = (scored[1], float(scored[2])) if scored else (text, math.nan)
        yield from make_events(where, fname, start_s, end_s, label.replace("\t", " "), score)


def make_events(where: str, fname: str, start_s: float, end_s: float, label: str, score: float) -> list[Event]:
    """One event a label of `label`, which `;` joins; none for NO_DETECTION.

    Raises UserError for times or labels that cannot be.
    """
    if label == NO_DETECTION:
        return []
    if start_s < -MAX_EARLY_S:
        raise UserError(f"{where}: the event begins at {start_s:g} s, before the recording: mend it")
    if end_s < start_s:
        raise UserError(f"{where}: the event ends at {end_s:g} s, before it begins at {start_s:g} s: mend it")
    labels = split_labels(join_clean_labels(where, split_labels(label)))
    if not labels:
        raise UserError(f"{where}: the event has no label: give it one, or take the line out")
    return [Event(fname, max(start_s, 0.0), max(end_s, 0.0), each, score, where) for each in labels]


def parse_number(where: str, name: str, text: str) -> float:
    """A finite number, maybe with a decimal comma. Raises UserError."""
    try:
        value = _to_float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UserError(f"{where}: {name} {text!r} is no number: write it as 12.5")
    return value


def _to_float(text: str) -> float:
    return float(text.replace(",", ".") if text.count(",") == 1 and "." not in text else text)
