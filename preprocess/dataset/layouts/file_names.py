"""Layout `folders` with `data.label_pattern`: labels stand in the names of files or folders."""

import re
from pathlib import Path
from unicodedata import normalize

import pandas as pd

from core.errors import UserError
from preprocess.dataset.discovery import RawDataset, describe_left_out, find_audio_files, join_clean_labels
from preprocess.dataset.groups import GROUP
from preprocess.dataset.splits import splits_of
from recipe import Data


def read(data: Data, folder: Path) -> RawDataset:
    """List recordings whose path below the folder matches the pattern somewhere; its groups, or all that matches, are
    the labels, but the group named `group`. Folders train/, val/ and test/ are splits where there is no other folder
    but the background's.
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
