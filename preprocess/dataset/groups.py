"""Groups of recordings of one source, as a site or a day, by their paths."""

import re
from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from core.errors import UserError

GROUP = "group"
"""The name of the part of a pattern that says which clips are of one source."""


def find_groups(paths: Iterable[str], pattern: str) -> list[str]:
    """What the pattern's group (the one named `group`, else the first, else all of it) matches in each path, '' where
    nothing does. Raises UserError for a bad pattern.
    """
    try:
        compiled = re.compile(normalize("NFC", pattern))
    except re.error as error:
        raise UserError(f"data.group_pattern = {pattern!r} is no regular expression: {error}") from None
    chosen = compiled.groupindex.get(GROUP, min(compiled.groups, 1))
    found = [compiled.search(normalize("NFC", path)) for path in paths]  # a Mac's folders have another form of Unicode
    return [(match[chosen] or "") if match else "" for match in found]


def match_groups(
    paths: Iterable[str], folders: Iterable[Path], pattern: str, has_groups: bool
) -> tuple[list[str], str]:
    """The groups of paths below one of the folders, and how many they are, in words.

    Raises UserError for a bad pattern, and where it matches nowhere but in a dataset that has groups already.
    """
    for folder in folders:
        paths = [path.removeprefix(f"{folder}/") for path in paths]
    groups = find_groups(paths, pattern)
    n_alone = groups.count("")
    if n_alone == len(groups) and not has_groups:
        raise UserError(f"data.group_pattern = {pattern!r} matches in no path below the folder: mend it")
    note = f"{len(set(groups) - {''})} groups by data.group_pattern"
    return groups, note + (f"; {n_alone} recordings match it nowhere and keep groups of their own" if n_alone else "")
