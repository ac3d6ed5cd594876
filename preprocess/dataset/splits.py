"""Names of splits, as datasets write them."""

from collections.abc import Iterable
from pathlib import Path

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What the names of folders, and values of a column `split`, mean; as in HuggingFace's datasets."""


def find_split_folders(names: Iterable[Path]) -> dict[str, str]:
    """The split of each first folder of some paths, where all are named as splits and one is for training; else none.

    Paths without a folder do not matter: one loose recording must not make training clips of those in test/.
    """
    splits = {name.parts[0]: SPLIT_NAMES.get(name.parts[0].lower(), "") for name in names if len(name.parts) > 1}
    return splits if len(splits) > 1 and all(splits.values()) and "train" in splits.values() else {}
