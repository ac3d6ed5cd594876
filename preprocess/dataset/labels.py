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
COLUMN_NAMES = ("clip", "fname", "labels", "start_s", "end_s")
"""Of columns that stand beside those of labels in the CSVs that are read or written."""


def split_labels(joined: str) -> list[str]:
    """The labels of a clip from their joined text; none for ''.

    >>> split_labels("bark; rain, heavy")
    ['bark', 'rain, heavy']
    """
    return list(dict.fromkeys(label.strip() for label in joined.split(SEPARATOR) if label.strip()))


def join_labels(labels: Iterable[str]) -> str:
    """One text of a clip's labels. Raises UserError for a label that would not come back from it."""
    kept = list(dict.fromkeys(labels))
    for label in kept:
        check_label(label)
    return SEPARATOR.join(kept)


def check_label(label: str) -> None:
    """Raise UserError if `label` is empty, is padded, or holds a ';' or a line break."""
    if label != label.strip() or not label:
        raise UserError(f"label {label!r} is empty or begins or ends with a space: rename it")
    if SEPARATOR in label or label.splitlines() != [label]:
        raise UserError(f"label {label!r} holds a ';' or a line break, which separate labels and rows: rename it")


def read_vocabulary(path: Path) -> list[str]:
    """The labels of a vocabulary file, in order."""
    return check_vocabulary(list(read_table(path, ["label"], hint="run make features first")["label"]), str(path))


def write_vocabulary(path: Path, labels: Sequence[str]) -> None:
    """Write a vocabulary, a label a row."""
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
    table: pd.DataFrame,
    requested: list[str] | None = None,
    sample_columns: list[str] | None = None,
    vocabulary_source: str = "data.labels",
) -> list[str]:
    """The vocabulary: the sample submission's columns, else `requested`, else all labels of training clips, sorted.

    Raises UserError if `requested` and `sample_columns` differ, if they make no vocabulary (`vocabulary_source` says
    who named the requested ones), or a clip of `table` has a label in no vocabulary.
    """
    if requested is not None and sample_columns is not None and set(requested) != set(sample_columns):
        differing = sorted(set(requested) ^ set(sample_columns))[0]
        raise UserError(f"data.labels and the sample submission differ in label {differing!r}: leave data.labels out")
    if sample_columns is not None:
        vocabulary = check_vocabulary(sample_columns, "the sample submission")
    elif requested is not None:
        vocabulary = check_vocabulary(requested, vocabulary_source)
    else:
        training = table.loc[table["split"] == "train", "labels"]
        found = {label for joined in training for label in split_labels(joined)}
        vocabulary = check_vocabulary(sorted(found), "the training clips")
    to_multi_hot(table["labels"], vocabulary, clips=table["clip"])
    return vocabulary


def to_multi_hot(labels: Iterable[str], vocabulary: Sequence[str], *, clips: Iterable[str] | None = None) -> np.ndarray:
    """Multi-hot rows, float32 [n_clips, n_labels], of joined labels.

    Raises UserError for a label in no vocabulary, naming its clip where `clips` are given.
    """
    joined = list(labels)
    names = list(clips) if clips is not None else [f"row {row}" for row in range(len(joined))]
    column = {label: index for index, label in enumerate(vocabulary)}
    multi_hot = np.zeros((len(joined), len(vocabulary)), dtype=np.float32)
    for row, text in enumerate(joined):
        for label in split_labels(text):
            if label not in column:
                raise UserError(
                    f"{names[row]} has label {label!r}, which is not in the vocabulary "
                    f"({_shortened(vocabulary)}): correct the label, or add it to data.labels"
                )
            multi_hot[row, column[label]] = 1
    return multi_hot


def _shortened(labels: Sequence[str]) -> str:
    """The first labels, for a message."""
    return ", ".join(labels[:8]) + (", …" if len(labels) > 8 else "")


def is_single_label(multi_hot: Any) -> bool:
    """Whether each clip of a multi-hot array or tensor [n_clips, n_labels] has exactly one label."""
    return len(multi_hot) > 0 and bool(((multi_hot >= 0.5).sum(1) == 1).all())
