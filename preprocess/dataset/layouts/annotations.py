"""Layout `annotations`: recordings, and tables that say from when to when a label is in them."""

from pathlib import Path

import pandas as pd

from preprocess.dataset.annotations.reader import read_annotations
from preprocess.dataset.discovery import RawDataset, describe_left_out, expand_user, find_audio_files
from preprocess.dataset.labels import NEGATIVE, join_labels
from preprocess.dataset.splits import splits_of
from recipe import Data


def read(data: Data, folder: Path) -> RawDataset:
    """List recordings with the labels of their events, and the events. Folders train/, val/ and test/ are splits where
    there is no other folder but the background's.

    A recording that a table names without an event, or whose own table is empty, is a negative. One of which no table
    says anything is a test clip without labels; in a folder of training or validation it is left out with a warning.
    """
    other_files = list[Path]()
    names = [str(path.relative_to(folder)) for path in find_audio_files(folder, other_files)]
    tables = expand_user(data.table, "data.table") if data.table else folder
    annotations = read_annotations(tables, data.columns, names)
    joined = annotations.events.groupby("fname")["label"].agg(lambda labels: join_labels(sorted(set(labels))))
    labels = joined.reindex(annotations.fnames, fill_value=NEGATIVE).to_dict()
    splits, warnings = splits_of(list(map(Path, names)), data.background)
    rows, unknown = list[dict[str, str]](), list[str]()
    for name, split in zip(names, splits, strict=True):
        if name not in labels and split in ("train", "val"):
            unknown.append(name)
            continue
        rows.append({"clip": name, "path": str(folder / name), "labels": labels.get(name, ""), "split": split})
    warnings += annotations.warnings + describe_left_out(folder, other_files)
    if unknown:
        warnings.append(f"{len(unknown)} recordings are in no table and are left out, the first {unknown[0]!r}")
    if annotations.left_out:
        n_others, first = len(annotations.left_out), annotations.left_out[0].name
        warnings.append(f"{n_others} texts or tables have no columns of events and are left out, as {first!r}")
    events = annotations.events.rename(columns={"fname": "clip"})[["clip", "start_s", "end_s", "label", "where"]]
    note = f"{len(events)} events in {events['clip'].nunique()} of {len(names)} recordings"
    if n_unlabelled := sum(row["labels"] == "" for row in rows):
        note += f"; no table names {n_unlabelled} of them: they are predicted and not trained on"
    return RawDataset(pd.DataFrame(rows, dtype="str"), events=events, warnings=warnings, notes=[note])
