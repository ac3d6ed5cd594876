"""A dataset's folder, in any layout, to one table of clips with folds, and its vocabulary."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import UserError
from preprocess.dataset.clip_table import COLUMNS, TEST_FOLD, check_clip_table, check_rows
from preprocess.dataset.discovery import RawDataset, expand_user, normalize_label, require_folder, require_utf8_name
from preprocess.dataset.folds import assign_folds
from preprocess.dataset.labels import choose_vocabulary, to_multi_hot
from preprocess.dataset.layouts import csv, esc50, folders, fsdkaggle2019, irmas, notes
from recipe import Data

TRAILING_ZEROS = re.compile(r"\.0+$")
"""What a table has gained where a fold was missing in some row: 3.0 is fold 3."""
READERS: dict[str, Callable[[Data, Path], RawDataset]] = {
    "folders": folders.read,
    "csv": csv.read,
    "esc50": esc50.read,
    "fsdkaggle2019": fsdkaggle2019.read,
    "irmas": irmas.read,
    "notes": notes.read,
}


@dataclass(frozen=True)
class Dataset:
    """A dataset as every later step sees it."""

    table: pd.DataFrame
    """The table of clips, checked, in the dataset's order; test clips in the sample submission's."""
    vocabulary: list[str]
    sample: pd.DataFrame | None = None
    """The dataset's sample submission, all columns as text; the first names the clip."""
    warnings: list[str] = field(default_factory=list)
    """What was left out and why, a sentence each."""
    folder: Path = Path()
    """Of the dataset."""


def read_dataset(data: Data) -> Dataset:
    """Read the dataset that `data` describes. Raises UserError for a folder missing, empty or laid out otherwise."""
    if not data.folder:
        raise UserError("data.folder is not set: name the dataset's folder, as DATA=path or --data.folder path")
    try:
        folder = require_utf8_name(expand_user(data.folder, "data.folder").absolute())
        require_folder(folder, "set data.folder to the dataset's folder")
        raw = READERS[data.layout](data, folder)
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): allow it, or move it away") from None
    try:
        return _finish_dataset(raw, data, folder)
    except UserError as error:
        where = (data.table or folder / "labels.csv") if data.layout == "csv" else folder
        raise UserError(f"{where}: {error}") from None


def _finish_dataset(raw: RawDataset, data: Data, folder: Path) -> Dataset:
    """What was listed, with folds and a vocabulary. Raises UserError that names the clip."""
    table = _fill_defaults(raw.clips)
    check_rows(table)
    _check_some_exist(table)
    sample_columns = None if raw.sample is None else list(raw.sample.columns[1:])
    requested = [normalize_label(label) for label in data.labels] if data.labels else raw.vocabulary
    vocabulary_source = "data.labels" if data.labels else raw.vocabulary_source
    vocabulary = choose_vocabulary(table, requested, sample_columns, vocabulary_source)
    if len(vocabulary) < 2:
        raise UserError(f"every clip has label {vocabulary[0]!r}, so there is nothing to tell apart: check data.layout")
    table["fold"] = _choose_folds(table, vocabulary, data)
    check_clip_table(table)
    return Dataset(table[COLUMNS], vocabulary, raw.sample, raw.warnings, folder)


def _fill_defaults(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with every column: what is not known takes its default."""
    table = clips.copy()
    for column in COLUMNS:
        if column not in table:
            table[column] = ""
    table["group"] = table["group"].where(table["group"] != "", table["clip"])
    table["label_quality"] = table["label_quality"].where(table["label_quality"] != "", "curated")
    by_label = np.where(table["labels"] == "", "test", "train")
    table["split"] = table["split"].where(table["split"] != "", by_label)
    return table


def _check_some_exist(table: pd.DataFrame) -> None:
    """A recording that is missing costs itself alone, later; but if all are missing, the folder is the wrong one."""
    if not any(os.path.lexists(path) for path in table["path"] if "\0" not in path):
        raise UserError(
            f"none of {len(table)} recordings is there (the first: {table['path'].iloc[0]}): check data.folder"
        )


def _choose_folds(table: pd.DataFrame, vocabulary: list[str], data: Data) -> np.ndarray:
    """The dataset's own folds if any, otherwise grouped ones, balanced over labels and label quality; -1 for test."""
    folds = np.full(len(table), TEST_FOLD, dtype=np.int64)
    training = (table["split"] == "train").to_numpy()
    clips = table[training]
    if (clips["fold"] != "").any():
        folds[training] = [_parse_fold(clip, fold) for clip, fold in zip(clips["clip"], clips["fold"], strict=True)]
    elif len(clips):
        folds[training] = _stratified_group_folds(clips, vocabulary, data)
    return folds


def _stratified_group_folds(clips: pd.DataFrame, vocabulary: list[str], data: Data) -> np.ndarray:
    """Grouped folds of training clips, balanced over the labels of curated ones and of noisy ones."""
    multi_hot, groups = to_multi_hot(clips["labels"], vocabulary), clips["group"].to_numpy()
    noisy = (clips["label_quality"] == "noisy").to_numpy()[:, None]
    targets = np.hstack([multi_hot * ~noisy, multi_hot * noisy])
    folds = assign_folds(targets, groups, data.folds, data.seed)
    if len(set(folds[~noisy[:, 0]])) < data.folds:  # of few curated clips a fold may get none, unless they count too
        folds = assign_folds(np.hstack([targets, ~noisy]), groups, data.folds, data.seed)
    return folds


def _parse_fold(clip: str, fold: str) -> int:
    fold = TRAILING_ZEROS.sub("", fold)
    if not (fold.isascii() and fold.isdigit() and len(fold) <= 9):
        raise UserError(
            f"{clip} has fold {fold!r}: give every training clip a whole number of at most nine digits, or leave the "
            "column out"
        )
    return int(fold)
