"""Layout `fsdkaggle2019`: curated and noisy training clips, test clips without labels, a sample submission."""

from pathlib import Path

import pandas as pd

from core.csv_tables import read_table
from core.errors import UserError
from preprocess.dataset.discovery import RawDataset, find_recording, join_clean_labels
from preprocess.dataset.optional_columns import read_optional_columns
from recipe import Data

SAMPLE = "sample_submission.csv"
EXPECTED = "layout fsdkaggle2019 expects it; set data.folder to the folder that holds train_curated.csv"


def read(data: Data, folder: Path) -> RawDataset:
    """List the competition's files (Fonseca et al. 2019). An absent noisy or test part is noted.

    The training tables may have a column `group`, and where each of their clips has one, a `fold`.
    """
    notes: list[str] = []
    parts = [_training(folder, "curated", notes)]
    if missing := [name for name in ("train_noisy/", "train_noisy.csv") if not (folder / name).exists()]:
        notes.append(f"no {' and no '.join(missing)} in {folder}: there are no noisy clips")
    else:
        parts.append(_training(folder, "noisy", notes))
    training = pd.concat(parts, ignore_index=True).fillna("")
    if "fold" in training and (training["fold"] == "").any():
        first = training.loc[training["fold"] == "", "clip"].iloc[0]
        notes.append(f"training clips have no fold, as {first!r}: the column fold is not read")
        training = training.drop(columns="fold")
    sample = read_table(folder / SAMPLE, ["fname"], hint=EXPECTED)
    if sample.columns[0] != "fname" or len(sample.columns) < 2:
        raise UserError(f"{folder / SAMPLE} needs fname first, then a column a label")
    vocabulary = list(sample.columns[1:])
    if not (folder / "test").exists():
        notes.append(f"no test/ in {folder}: there are no test clips")
        return RawDataset(training, vocabulary, SAMPLE, notes=notes)
    test = pd.DataFrame({"clip": sample["fname"], "labels": "", "split": "test"})
    test["path"] = [find_recording(folder / "test", name) for name in test["clip"]]
    return RawDataset(
        pd.concat([training, test], ignore_index=True).fillna(""), vocabulary, SAMPLE, sample, notes=notes
    )


def _training(folder: Path, label_quality: str, notes: list[str]) -> pd.DataFrame:
    """The clips of train_<label_quality>.csv, whose labels are joined by commas; adds a note on what is not read."""
    path = folder / f"train_{label_quality}.csv"
    table = read_table(path, ["fname", "labels"], hint=EXPECTED)
    rows = zip(table["fname"], table["labels"], strict=True)
    labels = [join_clean_labels(f"{path}, {name}", joined.split(",")) for name, joined in rows]
    clips, unread = read_optional_columns(path, table, ["fname", "labels"], ["fold", "group"])
    notes += unread
    clips = clips.assign(clip=table["fname"], labels=labels, split="train", label_quality=label_quality)
    clips["path"] = [find_recording(folder / f"train_{label_quality}", name) for name in clips["clip"]]
    return clips
