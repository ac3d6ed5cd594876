"""Layout `esc50`: audio/ and meta/esc50.csv, five official folds, clips of one source in one fold."""

from pathlib import Path

from core.csv_tables import read_table
from preprocess.dataset.discovery import RawDataset, find_recording, join_clean_labels, normalize_label
from recipe import Data


def read(data: Data, folder: Path) -> RawDataset:
    """List meta/esc50.csv (Piczak 2015): one label a clip, group = source recording, extension as listed."""
    table = read_table(
        folder / "meta" / "esc50.csv",
        ["filename", "fold", "category", "src_file"],
        hint="layout esc50 expects it; set data.folder to the folder that holds audio/ and meta/",
    )
    clips = table.rename(columns={"filename": "clip", "category": "labels", "src_file": "group"})
    clips = clips[["clip", "labels", "fold", "group"]]
    clips["path"] = [find_recording(folder / "audio", name) for name in clips["clip"]]
    clips["labels"] = [join_clean_labels(clip, [label]) for clip, label in clips[["clip", "labels"]].to_numpy()]
    clips["group"] = clips["group"].map(normalize_label)
    return RawDataset(clips)
