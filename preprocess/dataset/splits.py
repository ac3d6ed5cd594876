"""Names of splits, as datasets write them."""

from collections.abc import Collection, Iterable
from pathlib import PurePath

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What the names of folders, and values of a column `split`, mean; as in HuggingFace's datasets."""


def find_split_folders(names: Iterable[PurePath], background: str) -> tuple[dict[str, str], list[str]]:
    """The split of each first folder of some paths, where all but `background` are named as splits and one is for
    training; else none, and a warning where one more folder is all that keeps others from being splits.

    Paths without a folder do not matter: one loose recording must not make training clips of those in test/.
    """
    folders = sorted({name.parts[0] for name in names if len(name.parts) > 1} - {background})
    splits = {folder: SPLIT_NAMES[folder.lower()] for folder in folders if folder.lower() in SPLIT_NAMES}
    if len(splits) < 2 or "train" not in splits.values():
        return {}, []
    if others := [folder for folder in folders if folder not in splits]:
        advice = f"move {others[0]!r} into one of them, or elsewhere"
        return {}, [f"folders {', '.join(splits)} are not read as splits, for {others[0]!r} is beside them: {advice}"]
    return splits, []


def splits_of(names: Collection[PurePath], background: str) -> tuple[list[str], list[str]]:
    """The split of each path by its first folder, '' where it is of none, and the warnings."""
    splits, warnings = find_split_folders(names, background)
    return [splits.get(name.parts[0], "") for name in names], warnings
