"""Reads a dataset of any layout: one table of clips with folds, and its vocabulary."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pandas as pd

from core.errors import UserError
from preprocess.dataset.clip_table import COLUMNS, TEST_FOLD, UNLABELLED, check_clip_table, check_rows
from preprocess.dataset.discovery import (
    RawDataset,
    describe_left_out,
    describe_unnamed,
    expand_user,
    find_audio_files,
    normalize_label,
    require_folder,
    require_utf8_name,
)
from preprocess.dataset.folds import assign_folds
from preprocess.dataset.groups import match_groups
from preprocess.dataset.label_names import describe_unknown_labels
from preprocess.dataset.labels import NEGATIVE, choose_vocabulary, to_multi_hot
from preprocess.dataset.layouts import annotations, audiofolder, csv, esc50, folders, fsdkaggle2019, irmas, notes
from preprocess.dataset.splits import SPLIT_NAMES
from recipe import Data

READERS: dict[str, Callable[[Data, Path], RawDataset]] = {
    "folders": folders.read,
    "csv": csv.read,
    "annotations": annotations.read,
    "audiofolder": audiofolder.read,
    "esc50": esc50.read,
    "fsdkaggle2019": fsdkaggle2019.read,
    "irmas": irmas.read,
    "notes": notes.read,
}
TABLE_LAYOUTS = ("csv", "audiofolder", "esc50", "fsdkaggle2019")
"""Layouts whose tables name the recordings."""
VAL_FOLD = "val"
"""In the column `fold`, of clips that make up fold 0 whatever the others'."""
MAX_TEST_PARTS = 20
"""The finest cut of a test share: a twentieth of the clips."""


@dataclass(frozen=True)
class Dataset:
    """A dataset as every later step sees it."""

    table: pd.DataFrame
    """The table of clips, checked, in the dataset's order; test clips in the sample submission's."""
    vocabulary: list[str]
    sample: pd.DataFrame | None = None
    """The dataset's sample submission, all columns as text; the first names the clip."""
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    folder: Path = Path()
    events: pd.DataFrame | None = None
    """Labels in time, of layouts that have them, as in RawDataset."""


def read_dataset(data: Data) -> Dataset:
    """Read the dataset that `data` describes. Raises UserError for a folder missing, empty or of another layout."""
    if not data.folder:
        raise UserError("data.folder is not set: name the dataset's folder, as DATA=path or --data.folder path")
    try:
        folder = require_utf8_name(expand_user(data.folder, "data.folder").absolute())
        require_folder(folder, "set data.folder to the dataset's folder")
        raw, folders = READERS[data.layout](data, folder), [folder]
        if data.unlabelled:
            folders.append(require_utf8_name(expand_user(data.unlabelled, "data.unlabelled").absolute()))
            raw = _add_unlabelled(raw, folders[1])
        if data.layout in TABLE_LAYOUTS:
            raw.warnings.extend(describe_unnamed(folder, raw.clips["path"].tolist()))
    except OSError as error:
        raise UserError(f"{error.filename} cannot be read ({error.strerror}): allow it, or move it away") from None
    try:
        return _finish_dataset(raw, data, folders)
    except UserError as error:
        where = (data.table or folder / "labels.csv") if data.layout == "csv" else folder
        raise UserError(f"{where}: {error}") from None


def _add_unlabelled(raw: RawDataset, folder: Path) -> RawDataset:
    """The dataset with the recordings below `folder`, which have no labels; a name that is taken gets the folder's."""
    require_folder(folder, "set data.unlabelled to a folder of recordings without labels, or leave it out")
    if raw.events is not None:
        raise UserError("data.unlabelled: the dataset has labels in time, which a teacher does not give; leave it out")
    labelled, left_out = raw.clips.reindex(columns=COLUMNS, fill_value=""), list[Path]()
    known = {os.path.realpath(path) for path in labelled["path"]}
    paths = [path for path in find_audio_files(folder, left_out) if os.path.realpath(path) not in known]
    if not paths:
        raise UserError(
            f"data.unlabelled: {folder} holds no recording that the dataset does not have already: move it out of "
            "data.folder, name another, or leave it out"
        )
    names = pd.Series([str(path.relative_to(folder)) for path in paths], dtype="str")
    names = names.mask(names.isin(labelled["clip"]), names.map(lambda name: f"{folder.name}/{name}"))
    rows = pd.DataFrame({"clip": names, "path": list(map(str, paths)), "label_quality": UNLABELLED}, dtype="str")
    clips = pd.concat([labelled, rows], ignore_index=True).fillna("")
    notes = [*raw.notes, f"{len(rows)} recordings in {folder} have no labels (data.unlabelled): a teacher gives them"]
    return replace(raw, clips=clips, notes=notes, warnings=raw.warnings + describe_left_out(folder, left_out))


def _finish_dataset(raw: RawDataset, data: Data, folders: Sequence[Path]) -> Dataset:
    """The dataset, of recordings below `folders`, the first its own, with defaults, a vocabulary and folds.

    Raises UserError that names the clip.
    """
    table, notes = _fill_defaults(raw.clips), list(raw.notes)
    check_rows(table)
    if data.group_pattern:
        has_groups = bool((table["group"] != table["clip"]).any())
        groups, note = match_groups(table["path"], folders, data.group_pattern, has_groups)
        table["group"] = [group or own for group, own in zip(groups, table["group"], strict=True)]
        notes.append(note)
    if not any(os.path.lexists(path) for path in table["path"]):  # else each is a failed clip
        first = table["path"].iloc[0]
        advice = "check data.folder, and that the table names recordings with their endings"
        raise UserError(f"none of {len(table)} recordings is there (the first: {first}): {advice}")
    requested, requested_by = raw.vocabulary, raw.vocabulary_source
    if data.labels:
        requested, requested_by = [normalize_label(label) for label in data.labels], "data.labels"
    sample_columns = None if raw.sample is None else list(raw.sample.columns[1:])
    vocabulary = choose_vocabulary(table, requested, sample_columns, requested_by)
    raw.warnings.extend(describe_unknown_labels(vocabulary, data))
    n_negatives = int((table["labels"] == NEGATIVE).sum())
    notes += [f"{n_negatives} clips have no label and are negatives"] if n_negatives else []
    if len(vocabulary) < 2 and not n_negatives and raw.events is None:
        raise UserError(f"every clip has label {vocabulary[0]!r}, so there is nothing to tell apart: check data.layout")
    if data.test_share:
        notes.append(_cut_test_share(table, vocabulary, data))
    training = (table["split"] == "train").to_numpy()
    folds = np.full(len(table), TEST_FOLD, dtype=np.int64)
    folds[training] = _choose_folds(table[training], vocabulary, data, data.folds)
    table["fold"] = folds
    check_clip_table(table)
    warnings = [line.encode(errors="backslashreplace").decode() for line in raw.warnings]  # of names that are not UTF-8
    return Dataset(table, vocabulary, raw.sample, warnings, notes, folders[0], raw.events)


def _fill_defaults(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with every column, and defaults for unknown values.

    Validation clips are training clips, of VAL_FOLD where the dataset has no folds of its own. Training clips without
    labels are negatives.
    """
    table = clips.reindex(columns=COLUMNS, fill_value="")
    is_unlabelled = table["label_quality"] == UNLABELLED
    by_label = np.where((table["labels"] == "") & ~is_unlabelled, "test", "train")
    for column, default in (("group", table["clip"]), ("label_quality", "curated"), ("split", by_label)):
        table[column] = table[column].where(table[column] != "", default)
    table["split"] = table["split"].map(lambda name: SPLIT_NAMES.get(name.strip().lower(), name))
    if (table["split"] == "train").any():
        is_val = table["split"] == "val"
        table["split"] = table["split"].mask(is_val, "train")
        table["fold"] = table["fold"].mask(is_val & bool((table["fold"] == "").all()), VAL_FOLD)
    is_negative = (table["labels"] == "") & (table["split"] == "train") & ~is_unlabelled
    table["labels"] = table["labels"].mask(is_negative, NEGATIVE)
    return table


def _cut_test_share(table: pd.DataFrame, vocabulary: list[str], data: Data) -> str:
    """Give whole groups of curated clips split test, `data.test_share` of them to the nearest part; in words.

    The parts are as few as make that share: few are of about the same size, also where groups are few.
    Noisy clips of these groups, and those without labels, are for nothing, and get split test too. Raises UserError
    where there are test clips.
    """
    if (table["split"] == "test").any():
        raise UserError(
            f"data.test_share = {data.test_share:g}, but the dataset has test clips of its own: set it to 0"
        )
    curated = table[table["label_quality"] == "curated"]
    n_groups = curated["group"].nunique()
    most_parts = min(MAX_TEST_PARTS, n_groups)
    n_test, n_parts = Fraction(data.test_share).limit_denominator(max(1, most_parts)).as_integer_ratio()
    if not 0 < n_test < n_parts:
        advice = f"set it to {1 / most_parts:.3g} to {1 - 1 / most_parts:.3g}" if most_parts > 1 else "set it to 0"
        raise UserError(
            f"data.test_share = {data.test_share:g}: the {n_groups} groups of curated clips are cut into {most_parts} "
            f"parts at most, of which this leaves none for testing or training; {advice}"
        )
    parts = assign_folds(to_multi_hot(curated["labels"], vocabulary), curated["group"].to_numpy(), n_parts, data.seed)
    tested = table["group"].isin(curated.loc[parts < n_test, "group"])
    table.loc[tested, "split"], table.loc[tested, "fold"] = "test", ""
    table.loc[tested & (table["label_quality"] == UNLABELLED), "label_quality"] = "noisy"
    if (table.loc[table["split"] == "train", "fold"] == VAL_FOLD).all():
        raise UserError(f"data.test_share = {data.test_share:g} leaves none but validation clips to train on: lower it")
    return f"{int(tested.sum())} of {len(table)} clips are test clips (data.test_share)"


def _choose_folds(clips: pd.DataFrame, vocabulary: list[str], data: Data, n_folds: int) -> np.ndarray:
    """The training clips' own folds if any, otherwise grouped ones, balanced over labels and label quality; clips of a
    validation split are fold 0, and the others are of the other folds. Unlabelled clips do not change those of others.
    """
    is_val = (clips["fold"] == VAL_FOLD).to_numpy()
    if is_val.any() and not is_val.all():
        folds = np.zeros(len(clips), dtype=np.int64)
        others = clips[~is_val].assign(fold="")
        folds[~is_val] = 1 + (_choose_folds(others, vocabulary, data, n_folds - 1) if n_folds > 2 else 0)
        return folds
    if (clips["fold"] != "").any():
        return _parse_folds(_spread_unlabelled(clips))
    if (is_unlabelled := clips["label_quality"] == UNLABELLED).any():
        labelled = clips[~is_unlabelled]
        folds = _choose_folds(labelled, vocabulary, data, n_folds).astype(str)
        own = pd.Series(folds, labelled.index, dtype="str").reindex(clips.index, fill_value="")
        return _parse_folds(_spread_unlabelled(clips.assign(fold=own)))
    multi_hot, groups = to_multi_hot(clips["labels"], vocabulary), clips["group"].to_numpy()
    if (n_groups := clips["group"].nunique()) < n_folds:
        most = n_groups + data.folds - n_folds  # validation clips are one more fold
        advice = f"set data.folds to {most} or less" if most > 1 else "folds need at least two groups"
        raise UserError(f"data.folds = {data.folds}, but the training clips are of {n_groups} group(s): {advice}")
    noisy = (clips["label_quality"] != "curated").to_numpy()[:, None]
    targets = np.hstack([multi_hot * ~noisy, multi_hot * noisy])
    folds = assign_folds(targets, groups, n_folds, data.seed)
    if len(set(folds[~noisy[:, 0]])) < n_folds:  # a fold has no curated clip: balance their number as well
        folds = assign_folds(np.hstack([targets, ~noisy]), groups, n_folds, data.seed)
    return folds


def _spread_unlabelled(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with folds for unlabelled ones without: their group's, else one after the other in turn."""
    lacking = (clips["fold"] == "") & (clips["label_quality"] == UNLABELLED)
    own = clips[clips["fold"] != ""]
    of_group, folds = dict(zip(own["group"], own["fold"], strict=True)), sorted(set(own["fold"]))
    in_turn = {group: folds[number % len(folds)] for number, group in enumerate(clips.loc[lacking, "group"].unique())}
    return clips.assign(fold=clips["fold"].mask(lacking, clips["group"].map(in_turn | of_group)))


def _parse_folds(clips: pd.DataFrame) -> np.ndarray:
    """Folds from text; a table with gaps may have made decimals of whole numbers."""
    folds = clips["fold"].str.replace(r"\.0+$", "", regex=True)
    if len(invalid := clips[~folds.str.fullmatch("[0-9]{1,9}")]):
        clip, fold = invalid[["clip", "fold"]].iloc[0]
        advice = "give every training clip a whole number of at most nine digits, or leave the column out"
        raise UserError(f"{clip} has fold {fold!r}: {advice}")
    return folds.astype("int64").to_numpy()
