"""verdicts.csv: what a person says of clips; read strictly, and turned into training data."""

from pathlib import Path

import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError
from preprocess.dataset.groups import find_groups
from preprocess.dataset.labels import check_label, join_labels, split_labels

VERDICTS_NAME, TRAINING_NAME = "verdicts.csv", "labels.csv"
COLUMNS = ["clip", "label", "verdict", "other"]
VERDICTS = ("yes", "no", "other")
"""The label is there; it is not; it is not, but that of column `other` is."""
TRAINING_COLUMNS = ["fname", "labels", "split", "group"]


def read_verdicts(path: Path, clips: pd.DataFrame) -> pd.DataFrame:
    """The verdicts of a table, one a clip and label; rows without a verdict are left out.

    Raises UserError that names the first clip that is not of the review, and the first verdict that is none.
    """
    table = read_table(path, COLUMNS[:3], hint="download it from the page of make review")
    table = table.reindex(columns=COLUMNS, fill_value="").map(str.strip)
    table["verdict"] = table["verdict"].str.lower()
    table = table[table["verdict"] != ""]
    known = set(clips[["clip", "label"]].itertuples(index=False, name=None))
    for clip, label, verdict, other in table.itertuples(index=False, name=None):
        if (clip, label) not in known:
            raise UserError(f"{path} judges clip {clip!r}, label {label!r}, which is not in clips.csv of this review")
        if verdict not in VERDICTS:
            raise UserError(f"{path}: verdict of {clip!r} is {verdict!r}: use {', '.join(VERDICTS[:-1])} or other")
        if (verdict == "other") != bool(other):
            fault = "names no label in column other" if verdict == "other" else f"has {other!r} in column other"
            raise UserError(f"{path}: verdict {verdict!r} of {clip!r} {fault}")
        try:
            check_label(other or label)
        except UserError as error:
            raise UserError(f"{path}, {clip}: {error}") from None
        if other == label:
            raise UserError(f"{path}: the other label of {clip!r} is {label!r}, for which it was judged: say yes")
    table = table.drop_duplicates()
    if len(twice := table[table.duplicated(["clip", "label"])]):
        raise UserError(f"{path} judges clip {twice['clip'].iloc[0]!r} twice, and differently: keep one row")
    return table.reset_index(drop=True)


def training_rows(
    verdicts: pd.DataFrame, clips: pd.DataFrame, n_folds: int, group_pattern: str | None
) -> tuple[list[tuple[str, ...]], int]:
    """Rows of TRAINING_COLUMNS for the judged clips, and the number of those that are left out.

    A clip has the labels that are said to be there; with none it is a negative. It is left out where the networks find
    another label in it that nobody has judged: it may be there. A group is what `group_pattern` finds in a recording's
    name, else the recording; it is empty where these clips are of fewer groups than `n_folds`.
    """
    table = clips.merge(verdicts, on=["clip", "label"])
    found = find_groups(table["recording"], group_pattern) if group_pattern else [""] * len(table)
    table["source_group"] = [group or name for group, name in zip(found, table["recording"], strict=True)]
    rows, n_left_out = list[tuple[str, ...]](), 0
    for clip, group in table.groupby("clip", sort=False):
        present = group.loc[group["verdict"] == "yes", "label"].tolist() + group["other"][group["other"] != ""].tolist()
        unjudged = set(split_labels(";".join(group["other_labels"]))) - {*group["label"], *group["other"]}
        if not present and unjudged:
            n_left_out += 1
            continue
        rows.append((str(clip), join_labels(present), "train", str(group["source_group"].iloc[0])))
    if len({row[3] for row in rows}) < n_folds:
        rows = [(*row[:3], "") for row in rows]
    return rows, n_left_out


def write_training_table(folder: Path, rows: list[tuple[str, ...]]) -> Path:
    """Write the judged clips as a dataset of layout `csv`; without the column `group` where it is empty."""
    path, n_columns = folder / TRAINING_NAME, 4 if any(row[3] for row in rows) else 3
    write_table(path, TRAINING_COLUMNS[:n_columns], (row[:n_columns] for row in rows))
    return path
