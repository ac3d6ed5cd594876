"""Layout `fsdkaggle2019`: curated and noisy training clips, test clips without labels, a sample submission."""

from pathlib import Path

import pandas as pd

from errors import BadInput
from preprocess.labels import join_labels
from preprocess.listing import Listing
from preprocess.tables import read_table
from recipe import Data

EXPECTED = "layout fsdkaggle2019 expects it; set data.folder to the folder that holds train_curated.csv"


def read(data: Data, folder: Path) -> Listing:
    """List the competition's files (Fonseca et al. 2019). A noisy or test part that is absent is noted."""
    notes: list[str] = []
    parts = [_training(folder, "curated")]
    if _present(folder, "train_noisy", "train_noisy.csv", "train without noisy clips", notes):
        parts.append(_training(folder, "noisy"))
    sample = read_table(folder / "sample_submission.csv", ["fname"], hint=EXPECTED)
    if sample.columns[0] != "fname" or len(sample.columns) < 2:
        raise BadInput(f"{folder / 'sample_submission.csv'} needs fname first, then a column a label")
    vocabulary = list(sample.columns[1:])
    if not _present(folder, "test", "sample_submission.csv", "predict no test clips", notes):
        return Listing(pd.concat(parts, ignore_index=True), vocabulary, notes=notes)
    test = pd.DataFrame({"clip": sample["fname"], "labels": "", "split": "test"})
    test["path"] = [str(folder / "test" / name) for name in test["clip"]]
    return Listing(pd.concat([*parts, test], ignore_index=True).fillna(""), vocabulary, sample, notes)


def _training(folder: Path, trust: str) -> pd.DataFrame:
    """The clips of train_<trust>.csv, whose labels are joined by commas."""
    table = read_table(folder / f"train_{trust}.csv", ["fname", "labels"], hint=EXPECTED)
    labels = [join_labels(label.strip() for label in joined.split(",")) for joined in table["labels"]]
    clips = pd.DataFrame({"clip": table["fname"], "labels": labels, "split": "train", "trust": trust})
    clips["path"] = [str(folder / f"train_{trust}" / name) for name in clips["clip"]]
    return clips


def _present(folder: Path, recordings: str, table: str, consequence: str, notes: list[str]) -> bool:
    """Whether a part's recordings and table are both there; notes which is not."""
    missing = [name for name in (f"{recordings}/", table) if not (folder / name).exists()]
    if missing:
        notes.append(f"no {' and no '.join(missing)} in {folder}: {consequence}")
    return not missing
