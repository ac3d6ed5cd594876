"""Layout `folders`: one folder a class, its name the label."""

from pathlib import Path

from core.errors import BadInput
from preprocess.dataset.discovery import AUDIO_NAME, Listing, audio_files, labels_of, list_clips, subfolders
from recipe import Data

MARKS = {"meta/esc50.csv": "esc50", "train_curated.csv": "fsdkaggle2019", "IRMAS-TrainingData": "irmas"}
"""What tells of another layout."""


def read(data: Data, folder: Path) -> Listing:
    """List a folder a class; clips are named by their paths.

    Recordings beside the class folders, and classes without any, are left out and noted.
    """
    for mark, layout in MARKS.items():
        if (folder / mark).exists():
            raise BadInput(f"{folder} holds {mark}, so its folders are no classes: set data.layout to {layout}")
    classes = subfolders(folder)
    if not classes:
        raise BadInput(f"{folder} has no folders: layout folders expects one a class, named by its label")
    recordings: list[tuple[Path, str]] = []
    notes = []
    for class_folder in classes:
        files = audio_files(class_folder)
        if not files:
            notes.append(f"folder {class_folder.name!r} holds no recording and is no class")
        labels = labels_of(class_folder, [class_folder.name])
        recordings += [(file, labels) for file in files]
    if loose := sum(not entry.is_dir() and AUDIO_NAME.fullmatch(entry.name) is not None for entry in folder.iterdir()):
        notes.append(f"{loose} recording(s) beside the class folders have no label and are left out")
    rows = [
        {"clip": file.relative_to(folder).as_posix(), "path": str(file), "labels": labels}
        for file, labels in recordings
    ]
    return Listing(list_clips(rows), notes=notes)
