"""failed.csv: the recordings that could not be read, why, and what must change for them to be tried again."""

from collections.abc import Iterable
from dataclasses import astuple, dataclass
from pathlib import Path

from core.csv_tables import read_table, write_table
from core.errors import UserError
from preprocess.store.schema import features_digest
from recipe import Features

COLUMNS = ["clip", "path", "reason", "source", "features"]
"""The fields of a Failure, and the recipe's features_digest."""


@dataclass(frozen=True)
class Failure:
    """A recording that could not be read."""

    clip: str
    path: str
    reason: str
    source: str
    """The recording's fingerprint: with the same one it is not tried again; '' where it is tried every time."""


def read_failures(path: Path, features: Features) -> list[Failure]:
    """The failures of these features; none where the file is missing or damaged: then all are tried again."""
    try:
        table = read_table(path, COLUMNS)
    except UserError:
        return []
    table = table[table["features"] == features_digest(features)]
    return [Failure(*row) for row in table[COLUMNS[:4]].itertuples(index=False)]


def write_failures(path: Path, features: Features, failures: Iterable[Failure]) -> None:
    """Write failed.csv; where nothing failed there is none."""
    digest = features_digest(features)
    rows = [(*astuple(one), digest) for one in failures]
    if rows:
        write_table(path, COLUMNS, rows)
    else:
        path.unlink(missing_ok=True)
