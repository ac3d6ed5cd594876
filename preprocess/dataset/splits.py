"""Names of splits, as datasets write them, and validation clips as a fold of the training clips."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "val"),
    **dict.fromkeys(("test", "testing", "eval", "evaluation"), "test"),
}
"""What the names of folders, and values of a column `split`, mean; as in HuggingFace's datasets."""
VAL_FOLD = "val"
"""In the column `fold`, of clips that make up fold 0 whatever the others'."""


def find_split_folders(names: Iterable[Path]) -> dict[str, str]:
    """The split of each first part of some paths, where all are named as splits and one is for training; else none."""
    splits = {name.parts[0]: SPLIT_NAMES.get(name.parts[0].lower(), "") for name in names}
    return splits if len(splits) > 1 and all(splits.values()) and "train" in splits.values() else {}


def val_as_fold(clips: pd.DataFrame) -> pd.DataFrame:
    """The clips with split train for val, and VAL_FOLD for their fold where the dataset has no folds of its own."""
    split = clips["split"].map(lambda name: SPLIT_NAMES.get(name.strip().lower(), name))
    is_val = (split == "val") & bool((split == "train").any())
    clips = clips.assign(split=split.mask(is_val, "train"))
    has_folds = (clips["fold"] != "").any()
    return clips if has_folds else clips.assign(fold=clips["fold"].mask(is_val, VAL_FOLD))
