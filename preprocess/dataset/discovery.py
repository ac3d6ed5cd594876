"""What a layout's reader returns, and what the readers share: finding recordings, and cleaning names and labels."""

import os
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from core.errors import UserError
from preprocess.dataset.labels import join_labels

AUDIO_NAME = re.compile(
    r"[^.].*\.(3g2|3gp|aac|ac3|aif|aifc|aiff|amr|ape|asf|au|caf|eac3|flac|m4a|m4b|mka|mkv|mov|mp2|mp3|mp4|mpc"
    r"|oga|ogg|ogv|opus|ra|rf64|snd|spx|tta|w64|wav|wave|weba|webm|wma|wv)",
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True)
class RawDataset:
    """The recordings of a dataset before folds are chosen."""

    clips: pd.DataFrame
    """Columns clip, path, labels, and where known fold, split, group, label_quality, all as text."""
    vocabulary: list[str] | None = None
    vocabulary_source: str = "the dataset"
    """The part of the dataset that names the vocabulary, for messages."""
    sample: pd.DataFrame | None = None
    """The sample submission: the first column names the clip, the others are the labels."""
    warnings: list[str] = field(default_factory=list)
    """What is left out and why, a sentence each."""
    notes: list[str] = field(default_factory=list)
    """What else to know of how the folder was read, a sentence each."""


def expand_user(path: str, key: str) -> Path:
    """A path that may begin with ~. Raises UserError that names the recipe's key."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise UserError(f"{key} {path}: {error}; write the whole path") from None


def require_folder(path: Path, hint: str) -> Path:
    """`path` if it is a folder; otherwise raises UserError that ends in `hint`."""
    if not path.is_dir():
        raise UserError(f"{path} is {'not a folder' if path.exists() else 'not there'}: {hint}")
    return path


def require_utf8_name(path: Path) -> Path:
    """`path` if its name is UTF-8; otherwise raises UserError."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise UserError(f"{os.fsencode(path)!r}: the name is not UTF-8, rename the file or folder") from None
    return path


def list_subfolders(folder: Path) -> list[Path]:
    """Folders and links to folders in `folder`, sorted, without hidden ones and links to its parents."""
    parents = (folder.resolve(), *folder.resolve().parents)
    shown = (path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))
    return sorted(require_utf8_name(path) for path in shown if path.resolve() not in parents)


def find_audio_files(folder: Path, *, allow_non_utf8: bool = False) -> list[Path]:
    """Files below `folder` whose names look like recordings, sorted, without hidden files and folders.

    Links to folders are not followed, so a loop of links ends. Raises OSError for a folder that cannot be listed, and
    UserError for a name that is not UTF-8 unless `allow_non_utf8`.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(parent, name) for name in names if AUDIO_NAME.fullmatch(name)]
    return sorted(found if allow_non_utf8 else map(require_utf8_name, found))


def _raise(error: OSError) -> None:
    raise error


def find_recording(folder: Path, name: str) -> str:
    """The path of the recording that a table calls `name`, which may differ in outer spaces or Unicode form."""
    forms = (name, name.strip(), *(unicodedata.normalize(form, name.strip()) for form in ("NFC", "NFD")))
    paths = [str(folder / form) for form in forms]
    return next((path for path in paths if "\0" not in path and os.path.lexists(path)), paths[0])


def normalize_label(text: str) -> str:
    """A label in one form of Unicode, so that a folder's name equals the same word in a CSV."""
    return unicodedata.normalize("NFC", text.strip())


def join_clean_labels(where: object, labels: Iterable[str]) -> str:
    """One text of normalised labels. Raises UserError that names `where` for an invalid one."""
    cleaned = [normalize_label(label) for label in labels]
    if quoted := [label for label in cleaned if label[:1] == label[-1:] == '"']:
        raise UserError(f"{where}: label {quoted[0]} stands in quotes: leave no space before them, or take them away")
    try:
        return join_labels(cleaned)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
