"""Layout `notes`: recordings whose names say which notes sound, as A3_1.wav, or A3+C#4+E4_1.wav for several at once."""

from pathlib import Path

from core.errors import UserError
from preprocess.dataset.discovery import RawDataset, clips_table, find_audio_files
from preprocess.dataset.labels import join_labels, split_labels
from preprocess.dataset.note_names import normalize_note, note_sort_key
from recipe import Data

SPLITS = ("train", "test")


def read(data: Data, folder: Path) -> RawDataset:
    """List notes: what stands before a name's first '_', joined by '+', flats written as sharps.

    Folders train/ and test/, where both are there, are the splits; recordings of one folder below, an instrument's, are
    one group. With data.note_octaves false the labels are pitch classes. The vocabulary rises from C.
    Raises UserError for a training clip that names no note.
    """
    files = find_audio_files(folder)
    has_splits = all((folder / split).is_dir() for split in SPLITS)
    rows = [
        {"clip": name.as_posix(), "path": str(folder / name), **_parse_name(name, has_splits, data)}
        for name in (file.relative_to(folder) for file in files)
    ]
    labels = {label for row in rows if row["split"] != "test" for label in split_labels(row["labels"])}
    return RawDataset(clips_table(rows), sorted(labels, key=note_sort_key) or None)


def _parse_name(name: Path, has_splits: bool, data: Data) -> dict[str, str]:
    """Labels, split and group of a recording, by its path within the dataset; '' where they are not known."""
    split = name.parts[0] if has_splits and name.parts[0] in SPLITS else ""
    folders = name.parts[1 if split else 0 : -1]
    notes = [normalize_note(note, octave=data.note_octaves) for note in name.stem.partition("_")[0].split("+")]
    known = [note for note in notes if note]
    if len(known) < len(notes) and split != "test":
        raise UserError(
            f"{name} names no note before its first '_': rename it as A3_1.wav, or A3+C4_1.wav for several notes, "
            "or set data.layout to csv or folders"
        )
    labels = join_labels(known) if len(known) == len(notes) else ""
    return {"labels": labels, "split": split, "group": "/".join(folders)}
