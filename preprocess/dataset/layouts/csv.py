"""Layout `csv`: a table `fname,labels[,fold,group,split,trust]` beside a folder of recordings."""

from pathlib import Path

from core.csv_tables import read_table
from preprocess.dataset.discovery import Listing, clean_label, find_recording, home_of, labels_of
from preprocess.dataset.labels import split_labels
from recipe import Data

OPTIONAL = ["fold", "group", "split", "trust"]


def read(data: Data, folder: Path) -> Listing:
    """List the rows of a table. Labels are joined by ';'; a row without any is for prediction.

    Raises BadInput for a table that is not there or lacks a column.
    """
    path = home_of(data.table, "data.table") if data.table else folder / "labels.csv"
    table = read_table(path, ["fname", "labels"], hint="layout csv expects it; name another with data.table")
    clips = table[["labels", *(column for column in OPTIONAL if column in table)]].map(clean_label)
    rows = zip(table["fname"], clips["labels"], strict=True)
    clips["labels"] = [labels_of(f"{path}, {name}", split_labels(labels)) for name, labels in rows]
    clips.insert(0, "clip", table["fname"])
    clips.insert(1, "path", [find_recording(folder, name) for name in table["fname"]])
    return Listing(clips)
