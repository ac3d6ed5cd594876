"""What a dataset's own table says of its clips beside their names and labels, and which of its columns are not read."""

from collections.abc import Collection, Sequence
from pathlib import Path

import pandas as pd

from core.errors import UserError
from preprocess.dataset.clip_table import OPTIONAL
from preprocess.dataset.discovery import normalize_label


def read_optional_columns(
    path: Path, table: pd.DataFrame, read: Collection[str], optional: Sequence[str] = OPTIONAL
) -> tuple[pd.DataFrame, list[str]]:
    """The `optional` columns of the table at `path`, named in any case, and a note on those neither here nor in `read`.

    Raises UserError for two columns of one name, where neither has it exactly.
    """
    names, found = [str(name) for name in table], dict[str, str]()
    for name in optional:
        alike = [name] if name in names else [column for column in names if column.strip().lower() == name]
        if len(alike) > 1:
            raise UserError(f"{path} has columns {' and '.join(alike)}, which both are {name}: keep one")
        found |= dict.fromkeys(alike, name)
    others = [column for column in names if column not in found and column not in ("", *read)]
    clips = table[list(found)].rename(columns=found).map(normalize_label)
    return clips, [f"{path}: columns {', '.join(others)} are not read"] if others else []
