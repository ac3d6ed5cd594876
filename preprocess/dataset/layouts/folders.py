"""Layout `folders`: one folder a class, its name the label; or train/, val/ and test/ with such folders.

With `data.label_pattern` labels stand in the names of files or folders instead.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from core.errors import UserError
from preprocess.dataset.discovery import (
    RawDataset,
    describe_left_out,
    find_audio_files,
    is_recording,
    join_clean_labels,
    list_subfolders,
)
from preprocess.dataset.groups import GROUP
from preprocess.dataset.labels import NEGATIVE
from preprocess.dataset.splits import SPLIT_NAMES, find_split_folders, splits_of
from recipe import Data

MARKER_FILES = {"meta/esc50.csv": "esc50", "train_curated.csv": "fsdkaggle2019", "IRMAS-TrainingData": "irmas"}
"""Files of other layouts, and which."""


def read(data: Data, folder: Path) -> RawDataset:
    """List a folder a class, or such folders in train/, val/ and test/; clips are named by their paths.

    Recordings beside the class folders, and classes without any, are left out with a warning; those beside the classes
    of a test folder are test clips without labels.
    """
    if data.label_pattern:
        return _read_by_pattern(data, folder)
    for marker, layout in MARKER_FILES.items():
        if (folder / marker).exists():
            raise UserError(f"{folder} holds {marker}, so its folders are no classes: set data.layout to {layout}")
    if not (classes := list_subfolders(folder)):
        raise UserError(f"{folder} has no folders: layout folders expects one a class, named by its label")
    splits, warnings = _find_splits(folder, classes, data.background)
    outside = [path for path in classes if path.name == data.background] if splits else classes
    rows, class_warnings = _list_classes(folder, outside, data.background)
    warnings += class_warnings + _describe_loose(folder)
    if not splits:
        return RawDataset(pd.DataFrame(rows, dtype="str"), warnings=warnings)
    rows = [row | {"split": "train"} for row in rows]
    for split_folder, split in splits.items():
        split_rows, split_warnings = _list_classes(folder, list_subfolders(split_folder), data.background)
        if split == "test":
            loose = _find_loose(split_folder)
            split_rows += [{"clip": str(file.relative_to(folder)), "path": str(file), "labels": ""} for file in loose]
        else:
            split_warnings += _describe_loose(split_folder)
        rows += [row | {"split": split} for row in split_rows]
        warnings += split_warnings
    names = ", ".join(f"{path.name}/ ({split})" for path, split in splits.items())
    notes = [f"read as splits and not as classes: {names}"]
    return RawDataset(pd.DataFrame(rows, dtype="str"), warnings=warnings, notes=notes)


def _find_splits(folder: Path, folders: Sequence[Path], background: str) -> tuple[dict[Path, str], list[str]]:
    """The splits of `find_split_folders`, of folders with recordings, if a training one holds classes; and warnings."""
    if not any(SPLIT_NAMES.get(path.name.lower()) == "train" and list_subfolders(path) for path in folders):
        return {}, []
    names = [file.relative_to(folder) for path in folders for file in find_audio_files(path)]
    splits, warnings = find_split_folders(names, background)
    return {folder / name: split for name, split in splits.items()}, warnings


def _list_classes(folder: Path, classes: Iterable[Path], background: str) -> tuple[list[dict[str, str]], list[str]]:
    """The recordings of class folders, those of the `background` without labels, and warnings of empty folders."""
    rows: list[dict[str, str]] = []
    warnings, left_out = list[str](), list[Path]()
    for class_folder in classes:
        files = find_audio_files(class_folder, left_out)
        if not files:
            warnings.append(f"folder {str(class_folder.relative_to(folder))!r} holds no recording and is no class")
            continue
        labels = NEGATIVE if class_folder.name == background else join_clean_labels(class_folder, [class_folder.name])
        rows += [{"clip": str(file.relative_to(folder)), "path": str(file), "labels": labels} for file in files]
    return rows, warnings + describe_left_out(folder, left_out)


def _find_loose(folder: Path) -> list[Path]:
    """Recordings beside the class folders."""
    return sorted(path for path in folder.iterdir() if is_recording(path) and not path.is_dir())


def _describe_loose(folder: Path) -> list[str]:
    loose = _find_loose(folder)
    beside = f"{len(loose)} recording(s) beside the class folders in {folder} have no label and are left out"
    return [beside] if loose else []


def _read_by_pattern(data: Data, folder: Path) -> RawDataset:
    """List recordings whose path below the folder matches `data.label_pattern` somewhere.

    Its groups, or all that matches, are the labels, but the group named `group`. Folders train/, val/ and test/ are
    splits where there is no other folder but the background's.
    """
    try:
        pattern = re.compile(normalize("NFC", data.label_pattern or ""))
    except re.error as error:
        raise UserError(f"data.label_pattern = {data.label_pattern!r} is no regular expression: {error}") from None
    other_files = list[Path]()
    names = [file.relative_to(folder) for file in find_audio_files(folder, other_files)]
    splits, warnings = splits_of(names, data.background)
    rows, unmatched = list[dict[str, str]](), list[str]()
    for name, split in zip(names, splits, strict=True):
        found = pattern.search(normalize("NFC", name.as_posix()))
        labels = join_clean_labels(name, _labels_of(found)) if found else ""
        if not labels and split != "test":
            unmatched.append(str(name))
            continue
        group = found.groupdict().get(GROUP) if found else ""
        place = {"clip": str(name), "path": str(folder / name), "split": split}
        rows.append(place | {"labels": labels, GROUP: group or ""})
    if unmatched and not rows:
        first = f"the first is {unmatched[0]!r}"
        raise UserError(f"data.label_pattern = {data.label_pattern!r} gives no recording a label, {first}: mend it")
    warnings += describe_left_out(folder, other_files)
    if unmatched:
        others = f"{len(unmatched)} recording(s) have no label by data.label_pattern and are left out"
        warnings.append(f"{others}, as {unmatched[:1]}")
    return RawDataset(pd.DataFrame(rows, dtype="str"), warnings=warnings)


def _labels_of(found: re.Match[str]) -> list[str]:
    """What the groups of a pattern matched, or all where it has none."""
    if not found.re.groups:
        return [found[0]]
    source = found.re.groupindex.get(GROUP)
    return [text for number, text in enumerate(found.groups(), 1) if text and number != source]
