"""Layout `csv`: a table `fname,labels[,fold,group,split,trust]` beside a folder of recordings."""

from pathlib import Path

from preprocess.labels import join_labels, split_labels
from preprocess.listing import Listing, clean_label
from preprocess.tables import read_table
from recipe import Data

OPTIONAL = ["fold", "group", "split", "trust"]


def read(data: Data, folder: Path) -> Listing:
    """List the rows of a table. Labels are joined by ';'; a row without any is for prediction.

    Raises BadInput for a table that is not there or lacks a column.
    """
    path = Path(data.table).expanduser() if data.table else folder / "labels.csv"
    table = read_table(path, ["fname", "labels"], hint="layout csv expects it; name another with data.table")
    clips = table[["labels", *(column for column in OPTIONAL if column in table)]].map(str.strip)
    clips["labels"] = [join_labels(split_labels(clean_label(labels))) for labels in clips["labels"]]
    clips.insert(0, "clip", table["fname"])
    clips.insert(1, "path", [str(folder / name) for name in table["fname"]])
    return Listing(clips)
