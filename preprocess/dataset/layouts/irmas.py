"""Layout `irmas`: a folder of excerpts an instrument, and longer test clips with a .txt of instruments each."""

import itertools
import re
from pathlib import Path

import pandas as pd

from core.errors import UserError
from preprocess.dataset.discovery import (
    RawDataset,
    describe_left_out,
    find_audio_files,
    join_clean_labels,
    list_subfolders,
    normalize_label,
    require_folder,
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
    hint = f"layout irmas expects it; set data.folder to the folder that holds {TRAINING}/"
    class_folders = list_subfolders(require_folder(folder / TRAINING, hint))
    left_out = list[Path]()
    files = {class_folder.name: find_audio_files(class_folder, left_out) for class_folder in class_folders}
    training = [_training_row(file, code) for code in files for file in files[code]]
    parts = [path for path in sorted(folder.glob(TESTING)) if path.is_dir()]
    tests = [_test_row(file) for part in parts for file in find_audio_files(part, left_out)]
    warnings, notes = describe_left_out(folder, left_out), list[str]()
    if unknown := [Path(row["path"]).name for row in tests if not row["labels"]]:
        found = f"{len(unknown)} of {len(tests)} clips of the testing parts have no .txt with instruments"
        warnings.append(f"{found} ({unknown[0]} first): they are not scored")
    if not tests:
        notes.append(f"no recordings in {folder / TESTING}: there are no test clips")
    elif data.irmas_share:
        moved = _move_to_train(tests, data.irmas_share)
        notes.append(f"{moved} of {len(tests)} clips of the testing parts are for training (data.irmas_share)")
    clips = pd.DataFrame(training + tests, dtype="str")
    paths = [Path(path).relative_to(folder) for path in clips.get("path", [])]
    names = pd.Series([path.name for path in paths], dtype="str")
    # One more file of the same name would rename another clip, but IRMAS is complete.
    clips["clip"] = names.mask(names.duplicated(keep=False), list(map(str, paths)))
    vocabulary = [normalize_label(code) for code in files if files[code]]
    return RawDataset(clips, vocabulary, f"folder {TRAINING}", warnings=warnings, notes=notes)


def _training_row(file: Path, code: str) -> dict[str, str]:
    """A 3 s excerpt, named [code]...TRACK__EXCERPT: its group is the track's number within its instrument."""
    track = TRACK.search(file.stem)
    group = f"{code}{track[1]}" if track else f"{code}/{file.stem}"
    return {"path": str(file), "labels": join_clean_labels(file, [code]), "split": "train", "group": group}


def _test_row(file: Path) -> dict[str, str]:
    """A test clip, with instruments from the .txt beside it, a code a line; its group is the piece, NAME of NAME-N."""
    beside = file.with_suffix(".txt")
    try:
        lines = beside.read_text("utf-8-sig").splitlines() if beside.exists() else []
    except (OSError, UnicodeDecodeError) as error:
        advice = "it should hold an instrument's code a line"
        raise UserError(f"{beside} cannot be read as text ({error}): {advice}") from None
    labels = join_clean_labels(beside, filter(str.strip, lines))
    return {"path": str(file), "labels": labels, "split": "test", "group": EXCERPT.sub("", file.stem)}


def _move_to_train(tests: list[dict[str, str]], share: float) -> int:
    """Give split train to the first pieces whose clips are together nearest to `share` of all; return their number.

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
