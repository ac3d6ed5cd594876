"""Layout `csv`: a table `fname,labels[,fold,group,split,label_quality]` beside a folder of recordings."""

from pathlib import Path

from core.csv_tables import read_table
from core.errors import UserError
from preprocess.dataset.discovery import RawDataset, expand_user, find_recording
from preprocess.dataset.label_cells import join_label_cells
from preprocess.dataset.optional_columns import read_optional_columns
from recipe import Data


def read(data: Data, folder: Path) -> RawDataset:
    """List the rows of a table. A row without labels is a test clip."""
    path = expand_user(data.table, "data.table") if data.table else folder / "labels.csv"
    table = read_table(path, ["fname", "labels"], hint="layout csv expects it; name another with data.table")
    if "trust" in table:
        raise UserError(f"{path} has a column trust, which is called label_quality now: rename it in the header")
    clips, notes = read_optional_columns(path, table, ["fname", "labels"])
    clips["clip"] = names = table["fname"].tolist()
    clips["labels"], note = join_label_cells(path, names, table["labels"].tolist(), data.labels or ())
    clips["path"] = [find_recording(folder, name) for name in names]
    return RawDataset(clips, notes=[note, *notes] if note else notes)
