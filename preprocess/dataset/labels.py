"""Labels: the vocabulary, and label lists to and from one text and to multi-hot rows."""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from core.csv_tables import read_table, write_table
from core.errors import UserError

SEPARATOR = ";"
NEGATIVE = SEPARATOR
"""In the column `labels`, of a clip that is known to have none; '' is of one whose labels are not known."""
TRAIN_AGAIN = "the networks do not know it, run make train again, or correct the label and run make features"
"""Advice where a run's vocabulary lacks a label of the dataset."""
COLUMN_NAMES = ("clip", "fname", "labels", "start_s", "end_s", "start_time", "end_time")
"""Names of other columns in CSVs with a column a label."""


def split_labels(joined: str) -> list[str]:
    """The labels of a clip from their joined text.

    >>> split_labels("bark; rain, heavy")
    ['bark', 'rain, heavy']
    """
    return list(dict.fromkeys(label.strip() for label in joined.split(SEPARATOR) if label.strip()))


def join_labels(labels: Iterable[str]) -> str:
    """One text of a clip's labels. Raises UserError for a label that `split_labels` would not return."""
    kept = list(dict.fromkeys(labels))
    for label in kept:
        check_label(label)
    return SEPARATOR.join(kept)


def check_label(label: str) -> None:
    """Raise UserError if `label` is empty, is padded, or holds a ';', a line break or a zero byte."""
    if label != label.strip() or not label:
        raise UserError(f"label {label!r} is empty or begins or ends with a space: rename it")
    if set(label) & {SEPARATOR, "\0"} or label.splitlines() != [label]:
        raise UserError(f"label {label!r} holds a ';', a line break or a zero byte, which no label may have: rename it")


def read_vocabulary(path: Path) -> list[str]:
    """The labels of a vocabulary file, in order."""
    return check_vocabulary(read_table(path, ["label"], hint="run make features first")["label"].tolist(), str(path))


def write_vocabulary(path: Path, labels: Sequence[str]) -> None:
    """Write a vocabulary as a CSV, a label a row."""
    write_table(path, ["label"], ([label] for label in labels))


def check_vocabulary(labels: list[str], source: str) -> list[str]:
    """`labels` if they make a vocabulary; otherwise raises UserError that names `source`."""
    if not labels:
        raise UserError(f"{source} names no label: a vocabulary needs at least one")
    for label in labels:
        check_label(label)
        if label in COLUMN_NAMES:
            raise UserError(f"{source} names label {label!r}, as a column of the CSVs is called: name it otherwise")
    label, times = Counter(labels).most_common(1)[0]
    if times > 1:
        raise UserError(f"{source} names label {label!r} {times} times: keep one")
    return labels


def choose_vocabulary(
    table: pd.DataFrame, requested: list[str] | None, sample_columns: list[str] | None, requested_by: str
) -> list[str]:
    """The vocabulary: the sample submission's columns, else `requested`, else all labels of training clips, sorted.

    Raises UserError if `requested` (of `requested_by`) and `sample_columns` differ, for a bad vocabulary, or a clip of
    `table` with another label.
    """
    if sample_columns is not None:
        if requested is not None and (others := sorted(set(requested) ^ set(sample_columns))):
            raise UserError(f"data.labels differs from the sample submission in label {others[0]!r}: leave it out")
        vocabulary, source = sample_columns, "the sample submission"
    elif requested is not None:
        vocabulary, source = requested, requested_by
    else:
        training = table.loc[table["split"] == "train", "labels"]
        vocabulary, source = sorted(set(split_labels(SEPARATOR.join(training)))), "the training clips"
    to_multi_hot(table["labels"], check_vocabulary(vocabulary, source), clips=table["clip"])
    return vocabulary


def to_multi_hot(
    labels: Iterable[str],
    vocabulary: Sequence[str],
    *,
    clips: Iterable[str] | None = None,
    advice: str = "correct the label, or add it to data.labels",
) -> np.ndarray:
    """Multi-hot rows, float32 [n_clips, n_labels], of joined labels.

    Raises UserError, with `advice`, for a label that is not in the vocabulary, naming its clip where `clips` are given.
    """
    joined = list(labels)
    names = [f"row {row}" for row in range(len(joined))] if clips is None else list(clips)
    column = {label: index for index, label in enumerate(vocabulary)}
    multi_hot = np.zeros((len(joined), len(vocabulary)), dtype=np.float32)
    for row, text in enumerate(joined):
        for label in split_labels(text):
            if label not in column:
                known = ", ".join(vocabulary[:8]) + (", …" if len(vocabulary) > 8 else "")
                raise UserError(f"{names[row]} has label {label!r}, which is not in the vocabulary ({known}): {advice}")
            multi_hot[row, column[label]] = 1
    return multi_hot


def is_single_label(multi_hot: Any) -> bool:
    """Whether each clip of a multi-hot array or tensor [n_clips, n_labels] has exactly one label."""
    return len(multi_hot) > 0 and bool(((multi_hot >= 0.5).sum(1) == 1).all())
