"""Layout `irmas`: a folder of excerpts an instrument, and longer test clips with a .txt of instruments each."""

import itertools
import re
from pathlib import Path

from core.errors import UserError
from preprocess.dataset.discovery import (
    RawDataset,
    clips_table,
    find_audio_files,
    join_clean_labels,
    list_subfolders,
    normalize_label,
    require_folder,
    unique_clip_names,
)
from recipe import Data

TRACK = re.compile(r"(\d+)__\d+$")
EXCERPT = re.compile(r"-\d+$")
TRAINING = "IRMAS-TrainingData"
TESTING = "IRMAS-TestingData-Part*"


def read(data: Data, folder: Path) -> RawDataset:
    """List IRMAS (Bosch et al. 2012). Excerpts of one track are one group; the vocabulary is the training folders'.

    Of the testing parts, the first `data.irmas_share` in order is for training too, by whole pieces.
    """
    training = require_folder(
        folder / TRAINING, f"layout irmas expects it; set data.folder to the folder that holds {TRAINING}/"
    )
    rows, vocabulary, warnings = [], [], []
    for class_folder in list_subfolders(training):
        if files := find_audio_files(class_folder):
            vocabulary.append(normalize_label(class_folder.name))
            rows += [_training_row(file, class_folder.name) for file in files]
    tests = [
        _test_row(file) for part in sorted(folder.glob(TESTING)) if part.is_dir() for file in find_audio_files(part)
    ]
    if unknown := [Path(row["path"]).name for row in tests if not row["labels"]]:
        warnings.append(
            f"{len(unknown)} of {len(tests)} clips of the testing parts have no .txt with instruments ({unknown[0]} "
            "first): they are not scored"
        )
    if not tests:
        warnings.append(f"no recordings in {folder / TESTING}: predict no test clips")
    elif data.irmas_share:
        moved = _move_to_train(tests, data.irmas_share)
        warnings.append(f"{moved} of {len(tests)} clips of the testing parts are for training (data.irmas_share)")
    rows += tests
    for row, name in zip(rows, unique_clip_names([Path(row["path"]) for row in rows], folder), strict=True):
        row["clip"] = name
    return RawDataset(clips_table(rows), vocabulary, f"folder {TRAINING}", warnings=warnings)


def _training_row(file: Path, code: str) -> dict[str, str]:
    """A 3 s excerpt, named [code]...TRACK__EXCERPT: its group is the track's number within its instrument."""
    track = TRACK.search(file.stem)
    group = f"{code}{track[1]}" if track else f"{code}/{file.stem}"
    return {"path": str(file), "labels": join_clean_labels(file, [code]), "split": "train", "group": group}


def _test_row(file: Path) -> dict[str, str]:
    """A test clip, instruments from the .txt beside it (none: not known); its group is the piece, NAME of NAME-N."""
    group = EXCERPT.sub("", file.stem)
    beside = file.with_suffix(".txt")
    labels = join_clean_labels(beside, _instruments(beside))
    return {"path": str(file), "labels": labels, "split": "test", "group": group}


def _move_to_train(tests: list[dict[str, str]], share: float) -> int:
    """Give split train to the first pieces whose clips are together nearest to `share` of all; how many clips.

    Pieces come in the order of their first clips, and stay whole. Those with clips of unknown instruments stay tests.
    """
    pieces: dict[str, list[dict[str, str]]] = {}
    for row in tests:
        pieces.setdefault(row["group"], []).append(row)
    known = [rows for rows in pieces.values() if all(row["labels"] for row in rows)]
    sizes = [0, *itertools.accumulate(map(len, known))]
    number = min(range(len(sizes)), key=lambda n: abs(sizes[n] - share * len(tests)))
    for row in itertools.chain(*known[:number]):
        row["split"] = "train"
    return sizes[number]


def _instruments(path: Path) -> list[str]:
    """The codes of a .txt, one a line with a tab after it; none without the file."""
    if not path.exists():
        return []
    try:
        return [code for line in path.read_text("utf-8-sig").splitlines() if (code := line.strip())]
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(
            f"{path} cannot be read as text ({error}): it should hold an instrument's code a line"
        ) from None
