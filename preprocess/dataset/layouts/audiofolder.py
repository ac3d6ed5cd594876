"""Layout `audiofolder`: metadata.csv beside the recordings, in the folder or in train/, validation/ and test/."""

from pathlib import Path

import pandas as pd

from core.csv_tables import read_table
from core.errors import UserError
from preprocess.dataset.clip_table import OPTIONAL
from preprocess.dataset.discovery import RawDataset, find_recording, list_subfolders
from preprocess.dataset.label_cells import join_label_cells
from preprocess.dataset.optional_columns import read_optional_columns
from preprocess.dataset.splits import SPLIT_NAMES, splits_of
from recipe import Data

METADATA = "metadata.csv"
LABEL_COLUMNS = ("label", "labels")


def read(data: Data, folder: Path) -> RawDataset:
    """List the rows of each metadata.csv, as HuggingFace's datasets read them: `file_name`, and `label` or `labels`.

    A table in a folder that is named as a split is of that split; test rows need no label. Folders that a table beside
    them names, train/, validation/ and test/, are splits where it names no other folder but the background's.
    """
    tables = [path for path in (folder, *list_subfolders(folder)) if (path / METADATA).exists()]
    if not tables:
        raise UserError(
            f"{folder} has no {METADATA}, nor has a folder in it: layout audiofolder expects one; folders of classes "
            "are layout folders"
        )
    parts, cells, warnings, notes = list[pd.DataFrame](), list[str](), list[str](), list[str]()
    for place in tables:
        path = place / METADATA
        table = read_table(path, ["file_name"])
        split = "" if place == folder else SPLIT_NAMES.get(place.name.lower(), "")
        column = next((name for name in LABEL_COLUMNS if name in table), None)
        if column is None and split != "test":
            raise UserError(f"{path} has no column label or labels: name one of {', '.join(table.columns)} so")
        cells += table[column].tolist() if column else [""] * len(table)
        clips, unread = read_optional_columns(path, table, ["file_name", column or ""])
        clips, notes = clips.reindex(columns=OPTIONAL, fill_value=""), notes + unread
        clips["path"] = [find_recording(place, name) for name in table["file_name"]]
        clips["clip"] = names = [recording.removeprefix(f"{folder}/") for recording in clips["path"]]
        if place == folder:
            by_folder, warnings = splits_of(list(map(Path, names)), data.background)
            clips["split"] = clips["split"].where(clips["split"] != "", by_folder)
        parts.append(clips.assign(split=split) if split else clips)
    clips = pd.concat(parts, ignore_index=True)
    names = clips["clip"].tolist()
    clips["labels"], note = join_label_cells(folder, names, cells, data.labels or ())  # all tables join them alike
    return RawDataset(clips, warnings=warnings, notes=[note, *notes] if note else notes)
