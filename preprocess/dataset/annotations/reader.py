"""Reads labels in time: the events of a table for all recordings, or of a folder of tables, in any known format."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath

import pandas as pd

from core.csv_tables import read_rows
from core.errors import UserError
from preprocess.dataset.annotations.table_formats import ADVICE, COLUMN_KEYS, Event, parse_events
from preprocess.dataset.discovery import AUDIO_NAME, list_files, normalize_label

COLUMN_TYPES = {"fname": "str", "start_s": "float64", "end_s": "float64", "label": "str", "score": "float64"}
"""Of events."""
TABLE_NAME = re.compile(r"[^.].*\.(txt|tsv|csv)", re.IGNORECASE | re.DOTALL)
"""Names of files that may be tables of events."""
TABLE_SUFFIX = re.compile(
    r"(\.birdnet)?(\.results|\.selection\.table|\.table\.\d+)?(\.selections)?\.(txt|tsv|csv)$", re.IGNORECASE
)
"""What follows a recording's name in that of its table."""
SELECTIONS_NAME = re.compile(r".*(\.selections|\.selection\.table)\.txt", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Annotations:
    """Labels in time, of one table or of several."""

    events: pd.DataFrame
    """A row an event: fname, start_s, end_s, label, score, where.

    fname and label are texts; start_s and end_s are float64, seconds from the recording's beginning, and equal for a
    point; score is float64, NaN where a table has none; where is the table and the line, for messages.
    """
    fnames: list[str]
    """The recordings that were looked at, in order: those with events, and those that a table names or belongs to that
    has none for them."""
    left_out: list[Path] = field(default_factory=list)
    """Texts and tables of a folder that are no tables of events."""
    warnings: list[str] = field(default_factory=list)
    """Tables whose times may be wrong, a sentence each."""


def read_annotations(
    path: Path,
    columns: Mapping[str, str] | None = None,
    recordings: Collection[str] | None = None,
    hint: str = "name a table of events, or a folder of them, with data.table",
) -> Annotations:
    """The events of the table at `path`, or of all tables (.txt, .tsv, .csv) in or below the folder at `path`.

    Formats, told apart by content: Raven selection tables (a selection counts once, whatever the number of its views;
    File Offset (s) counts before Begin Time (s)), Audacity label tracks, DCASE's strong TSV, Kaleidoscope's CSV, and
    CSVs with the columns fname, start_s, end_s, label and maybe score. `columns` are a table's own names for the
    keys filename, start_s, end_s, duration_s, label, score. A row with nothing but a recording's name says that it has
    no event. A table without a column of recordings is of the one that it is named after: of `sub/a.txt`,
    `sub/a.selections.txt` and `sub/a.wav.txt`, fname is `sub/a` or `sub/a.wav`.

    With `recordings`, paths below their folder, fname is one of them: the one whose path ends in the table's name, or
    that the table's path ends in, with or without the ending. Without, fname is what the table says, with '/' for '\\'.

    Raises UserError, one line that names the file and where it can the line: a table that cannot be read, a column
    missing, a number that is none, an event that ends before it begins, a recording that is unknown.
    """
    if unknown := sorted(set(columns or {}) - set(COLUMN_KEYS)):
        raise UserError(f"data.columns names {unknown[0]!r}: its keys are {', '.join(COLUMN_KEYS)}")
    tables = _find_tables(path, hint) if path.is_dir() else [path]
    known = None if recordings is None else RecordingNames(recordings)
    events, named, left_out, warnings = list[Event](), dict[str, str](), list[Path](), list[str]()
    sources = dict[tuple[str, Path], None]()
    for table in tables:
        fname = TABLE_SUFFIX.sub("", (table.relative_to(path) if table != path else Path(table.name)).as_posix())
        is_own = bool(known and known.find(fname))
        is_expected = table == path or is_own or bool(SELECTIONS_NAME.fullmatch(table.name))
        try:
            rows = read_rows(table, hint, tabs_first=True)
        except UserError:
            if is_expected:
                raise
            left_out.append(table)  # a text of another purpose
            continue
        parsed = parse_events(table, rows, fname, columns or {})
        if parsed is None and is_expected:
            raise UserError(f"{table} has no columns of events: {ADVICE}")
        if parsed is None or not (rows or is_expected or known is None):
            left_out.append(table)
            continue
        if known and not is_own and parsed[1].get(fname) == str(table):
            raise UserError(
                f"{table} names no recordings, and none is called {fname!r}: name their column with data.columns, or "
                "the table after its recording, or a folder of such tables with data.table"
            )
        events += parsed[0]
        sources |= dict.fromkeys((event.fname, table) for event in parsed[0])
        warnings += parsed[2]
        found = parsed[1] or ({fname: str(table)} if is_own else {})  # a header alone
        named |= {name: where for name, where in found.items() if name not in named}
    if left_out and not named:
        raise UserError(f"{left_out[0]} has no columns of events, and no other table of {path} has: {ADVICE}")
    fnames = _resolve_names(named, known)
    warnings += _describe_several_tables((fnames[name], table) for name, table in sources)
    frame = pd.DataFrame([event._replace(fname=fnames[event.fname]) for event in events], columns=list(Event._fields))
    return Annotations(frame.astype(COLUMN_TYPES), list(dict.fromkeys(fnames.values())), left_out, warnings)


def _resolve_names(named: Mapping[str, str], known: "RecordingNames | None") -> dict[str, str]:
    """The recording of each name in a table, by the place where it stands. Raises UserError for an unknown one."""
    return {
        name: known.require(name, where) if known else normalize_label(name).replace("\\", "/")
        for name, where in named.items()
    }


def _describe_several_tables(sources: Iterable[tuple[str, Path]]) -> list[str]:
    """A sentence on the recordings that have events of more than one table, as a person's and a program's."""
    tables = defaultdict[str, list[Path]](list)
    for fname, table in sources:
        tables[fname].append(table)
    several = {fname: found for fname, found in tables.items() if len(found) > 1}
    return [
        f"{len(several)} recording(s) have events of several tables, as {fname!r} of {first.name} and {second.name}: "
        "move away those that are not to be taken"
        for fname, (first, second, *_) in islice(several.items(), 1)
    ]


def _find_tables(folder: Path, hint: str) -> list[Path]:
    """Files below a folder that may be tables, sorted, without hidden ones.

    Raises UserError with `hint`, and OSError.
    """
    found = [path for path in list_files(folder) if TABLE_NAME.fullmatch(path.name)]
    if not found:
        raise UserError(f"{folder} holds no table of events (.txt, .tsv, .csv): {hint}")
    return found


class RecordingNames:
    """Which recording a table means by a name."""

    def __init__(self, recordings: Iterable[str]) -> None:
        """`recordings` are paths below their folder."""
        self._by_end: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self._whole: dict[tuple[str, ...], list[str]] = defaultdict(list)
        for recording in recordings:
            for parts in _forms(recording, any_ending=True):
                self._whole[parts].append(recording)
                for first in range(len(parts)):
                    self._by_end[parts[first:]].append(recording)

    def find(self, name: str) -> list[str]:
        """The recordings that a name may mean: with its ending before without, and whole paths before ends of them."""
        for parts in _forms(name):
            for ends in (parts[first:] for first in range(len(parts))):
                if ends in self._whole:  # the recording's whole path is the end of the name
                    return self._whole[ends]
            if parts in self._by_end:
                return self._by_end[parts]
        return []

    def require(self, name: str, where: str) -> str:
        """The one recording that a name means. Raises UserError that begins with `where`."""
        found = self.find(name)
        if len(found) == 1:
            return found[0]
        if found:
            raise UserError(f"{where}: {name!r} may be {found[0]} or {found[1]}: name it with its folder and ending")
        raise UserError(
            f"{where}: there is no recording {name!r} in the dataset or the prediction: mend the name, or take it out"
        )


def _forms(name: str, *, any_ending: bool = False) -> Sequence[tuple[str, ...]]:
    """The parts of a path, with and without the ending of its last, which is one of recordings or `any_ending`."""
    path = PurePosixPath(normalize_label(name).replace("\\", "/"))
    has_ending = path.suffix and (any_ending or AUDIO_NAME.fullmatch(path.name))
    return [path.parts, path.with_suffix("").parts] if has_ending else [path.parts]
