"""The table of clips: one row a recording, the only thing later steps know of a dataset."""

import os
from collections.abc import Collection, Mapping
from pathlib import Path

import pandas as pd
import xxhash

from core.csv_tables import read_table, write_table
from core.errors import UserError
from preprocess.dataset.labels import NEGATIVE, SEPARATOR, join_labels, split_labels

OPTIONAL = ["fold", "split", "group", "label_quality"]
"""What a dataset's own table may say of a clip, beside its name and labels."""
COLUMNS = ["clip", "path", "labels", *OPTIONAL]
DIGEST_COLUMN = "frames_digest"
"""Ties a table that `make features` wrote to its store; '' for a clip that the store lacks."""
TEST_FOLD = -1
UNLABELLED = "unlabelled"
"""The label quality of training clips whose labels only a teacher can give."""
CHOICES = {"split": ("train", "test"), "label_quality": ("curated", "noisy", UNLABELLED)}


def write_clip_table(path: Path, table: pd.DataFrame, frames_digests: Mapping[str, str]) -> None:
    """Write the table of clips as a CSV, atomically, with the digest of each clip's frames (Store.frames_digests)."""
    table = table[COLUMNS].assign(**{DIGEST_COLUMN: [frames_digests.get(clip, "") for clip in table["clip"]]})
    write_table(path, list(table.columns), table.itertuples(index=False))


def read_clip_table(path: Path) -> pd.DataFrame:
    """The table of clips. Raises UserError for a missing file, or rows that are not clips."""
    table = read_table(path, COLUMNS, hint="run make features first")
    if DIGEST_COLUMN not in table:
        raise UserError(f"{path} is of an earlier version: run make features again, which writes the tables anew")
    table = table[[*COLUMNS, DIGEST_COLUMN]]
    try:
        table["fold"] = table["fold"].astype("int64")
        check_clip_table(table)
    except (ValueError, OverflowError) as error:
        raise UserError(f"{path} has a fold that is no whole number ({error}): run make features again") from None
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    return table


def check_frames_digests(path: Path, table: pd.DataFrame, store: Path, digests: Mapping[str, str]) -> None:
    """Raise UserError unless a store, whose frames have `digests`, was written together with the table at `path`."""
    for clip, digest in zip(table["clip"], table[DIGEST_COLUMN], strict=True):
        if digests.get(clip, "") != digest:
            raise UserError(
                f"{path} was not written together with {store}, which has other frames of {clip!r}: "
                "run make features again"
            )


def hash_frames_digests(table: pd.DataFrame, clips: Collection[str]) -> str:
    """One digest of the frames of some clips, those without frames aside, in whatever order."""
    rows = table.loc[table["clip"].isin(clips) & (table[DIGEST_COLUMN] != ""), ["clip", DIGEST_COLUMN]]
    pairs = map("\0".join, sorted(rows.to_numpy().tolist()))
    return xxhash.xxh3_128_hexdigest("\0".join(pairs).encode("utf-8", "surrogateescape"))


def check_clip_table(table: pd.DataFrame) -> None:
    """Raise UserError, naming clip and value, unless `table` can be trained on."""
    check_rows(table)
    _check_folds(table[table["split"] == "train"])


def check_rows(table: pd.DataFrame) -> None:
    """Raise UserError, naming clip and value, for an error in any column but `fold`."""
    if table.empty:
        raise UserError("the dataset is empty, no recording was found: check data.folder and data.layout")
    if len(repeated := table.loc[table["clip"].duplicated(), "clip"]):
        name = repeated.iloc[0]
        first, second, *_ = table.loc[table["clip"] == name, "path"]
        if first == second:
            raise UserError(f"{name!r} stands in two rows: keep one, with all its labels, joined by {SEPARATOR!r}")
        raise UserError(f"two clips are named {name!r} ({first} and {second}): rename one or drop one")
    paths = table["path"].map(os.path.normpath)
    if len(repeated := table.loc[paths.duplicated(keep=False), "clip"]):
        first, second, *_ = table.loc[paths == paths[repeated.index[0]], "clip"]
        raise UserError(f"{first!r} and {second!r} are one recording: keep one row, with all its labels")
    for clip, path, labels in table[["clip", "path", "labels"]].itertuples(index=False):
        if not clip.strip():
            raise UserError(f"clip {clip!r} ({path!r}) has no name: name it")
        if labels not in ("", NEGATIVE) and labels != join_labels(split_labels(labels)):
            raise UserError(f"{clip} has labels {labels!r}: join them with {SEPARATOR!r} and nothing else")
    for column, words in CHOICES.items():
        if len(invalid := table.loc[~table[column].isin(words), ["clip", column]]):
            clip, value = invalid.iloc[0]
            raise UserError(f"{clip} has {column} {value!r}: it must be {' or '.join(words)}")
    training, is_unlabelled = table[table["split"] == "train"], table["label_quality"] == UNLABELLED
    if training.empty or is_unlabelled[training.index].all():
        raise UserError("no clip is for training: give some clips labels, and split 'train'")
    if len(unlabelled := training.loc[(training["labels"] == "") & ~is_unlabelled, "clip"]):
        raise UserError(f"{unlabelled.iloc[0]} is for training but has no label: label it, or give it split 'test'")
    if len(others := table.loc[is_unlabelled & ((table["labels"] != "") | (table["split"] == "test")), "clip"]):
        raise UserError(
            f"{others.iloc[0]} has label_quality {UNLABELLED!r}: it must have no labels and be for training; give it "
            "another label_quality, or leave its labels and its split out"
        )


def _check_folds(training: pd.DataFrame) -> None:
    """At least two folds, each with curated clips to be scored on, and no group in two of them."""
    folds = sorted(set(training["fold"]))
    if folds[0] < 0:
        clip = training.loc[training["fold"] < 0, "clip"].iloc[0]
        raise UserError(f"{clip} is for training but has fold {folds[0]}: folds count from 0")
    if len(folds) < 2:
        advice = "use at least two folds, or leave the fold column out"
        raise UserError(f"every training clip is in fold {folds[0]}: {advice}")
    scored = set(training.loc[training["label_quality"] == "curated", "fold"])
    if unscored := [fold for fold in folds if fold not in scored]:
        advice = "use fewer folds, or others" if scored else "no clip is, so give some label_quality 'curated'"
        raise UserError(f"fold {unscored[0]} has no curated clip to be scored on: {advice}")
    ranges = training.groupby("group")["fold"].agg(["min", "max"])
    if len(split := ranges[ranges["min"] != ranges["max"]]):
        low, high = split.iloc[0]
        raise UserError(f"group {split.index[0]!r} is in folds {low} and {high}: keep a group in one fold")
