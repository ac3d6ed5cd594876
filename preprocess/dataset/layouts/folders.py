"""Layout `folders`: one folder a class, its name the label."""

from pathlib import Path

import pandas as pd

from core.errors import UserError
from preprocess.dataset.discovery import AUDIO_NAME, RawDataset, find_audio_files, join_clean_labels, list_subfolders
from recipe import Data

MARKER_FILES = {"meta/esc50.csv": "esc50", "train_curated.csv": "fsdkaggle2019", "IRMAS-TrainingData": "irmas"}
"""Files of other layouts, and which."""


def read(data: Data, folder: Path) -> RawDataset:
    """List a folder a class; clips are named by their paths.

    Recordings beside the class folders, and classes without any, are left out with a warning.
    """
    for marker, layout in MARKER_FILES.items():
        if (folder / marker).exists():
            raise UserError(f"{folder} holds {marker}, so its folders are no classes: set data.layout to {layout}")
    if not (classes := list_subfolders(folder)):
        raise UserError(f"{folder} has no folders: layout folders expects one a class, named by its label")
    rows: list[dict[str, str]] = []
    warnings = []
    for class_folder in classes:
        files = find_audio_files(class_folder)
        if not files:
            warnings.append(f"folder {class_folder.name!r} holds no recording and is no class")
        labels = join_clean_labels(class_folder, [class_folder.name])
        rows += [{"clip": str(file.relative_to(folder)), "path": str(file), "labels": labels} for file in files]
    if unlabelled := [path for path in folder.iterdir() if AUDIO_NAME.fullmatch(path.name) and not path.is_dir()]:
        warnings.append(f"{len(unlabelled)} recording(s) beside the class folders have no label and are left out")
    return RawDataset(pd.DataFrame(rows, dtype="str"), warnings=warnings)
