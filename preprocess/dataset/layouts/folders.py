"""Layout `folders`: one folder a class, its name the label."""

from pathlib import Path

from core.errors import UserError
from preprocess.dataset.discovery import (
    AUDIO_NAME,
    RawDataset,
    clips_table,
    find_audio_files,
    join_clean_labels,
    list_subfolders,
)
from recipe import Data

MARKER_FILES = {"meta/esc50.csv": "esc50", "train_curated.csv": "fsdkaggle2019", "IRMAS-TrainingData": "irmas"}
"""What tells of another layout."""


def read(data: Data, folder: Path) -> RawDataset:
    """List a folder a class; clips are named by their paths.

    Recordings beside the class folders, and classes without any, are left out and noted.
    """
    for marker, layout in MARKER_FILES.items():
        if (folder / marker).exists():
            raise UserError(f"{folder} holds {marker}, so its folders are no classes: set data.layout to {layout}")
    classes = list_subfolders(folder)
    if not classes:
        raise UserError(f"{folder} has no folders: layout folders expects one a class, named by its label")
    recordings: list[tuple[Path, str]] = []
    warnings = []
    for class_folder in classes:
        files = find_audio_files(class_folder)
        if not files:
            warnings.append(f"folder {class_folder.name!r} holds no recording and is no class")
        labels = join_clean_labels(class_folder, [class_folder.name])
        recordings += [(file, labels) for file in files]
    if n_unlabelled := sum(
        not entry.is_dir() and AUDIO_NAME.fullmatch(entry.name) is not None for entry in folder.iterdir()
    ):
        warnings.append(f"{n_unlabelled} recording(s) beside the class folders have no label and are left out")
    rows = [
        {"clip": file.relative_to(folder).as_posix(), "path": str(file), "labels": labels}
        for file, labels in recordings
    ]
    return RawDataset(clips_table(rows), warnings=warnings)
