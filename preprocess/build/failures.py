"""failed.csv: the recordings that could not be read, why, and what must change for them to be tried again."""

from collections.abc import Iterable
from pathlib import Path

from core.csv_tables import read_table, write_table
from core.errors import BadInput
from preprocess.build.messages import Failure
from preprocess.store.schema import fingerprint
from recipe import Features

COLUMNS = ["clip", "path", "reason", "source", "features"]
"""`source` is the file's stamp, empty where it is tried every time; `features` the fingerprint of the recipe's."""


def read_failures(path: Path, features: Features) -> list[Failure]:
    """The failures of these features; none where there is no file, or a damaged one: then all are tried again."""
    try:
        table = read_table(path, COLUMNS)
    except BadInput:
        return []
    table = table[table["features"] == fingerprint(features)]
    return [Failure(*row) for row in table[COLUMNS[:4]].itertuples(index=False)]


def write_failures(path: Path, features: Features, failures: Iterable[Failure]) -> None:
    """Write failed.csv; where nothing failed there is none."""
    mark = fingerprint(features)
    rows = [(one.clip, one.path, one.reason, one.source, mark) for one in failures]
    if rows:
        write_table(path, COLUMNS, rows)
    else:
        path.unlink(missing_ok=True)
