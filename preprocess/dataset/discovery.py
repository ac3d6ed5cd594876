"""What a layout's reader returns, and what the readers share: finding recordings, and cleaning names and labels."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from core.errors import UserError
from preprocess.dataset.labels import join_labels

AUDIO_NAME = re.compile(
    r"[^.].*\.(3g2|3gp|aac|ac3|aif|aifc|aiff|amr|ape|asf|au|avi|caf|dts|eac3|f4v|flac|flv|m2ts|m4a|m4b|m4v|mka|mkv|mov"
    r"|mp2|mp3|mp4|mpc|mpeg|mpg|mts|nist|oga|ogg|ogm|ogv|opus|ra|rf64|rm|snd|spx|sph|tta|voc|w64|wav|wave|weba|webm|wma"
    r"|wmv|wv)",
    re.IGNORECASE | re.DOTALL,
)
"""Names of recordings: content that is none is an error there."""
COMPANION_NAME = re.compile(
    r"\..*|.*\.(bib|cfg|css|csv|cue|db|gif|html?|ini|ipynb|jams|jpe?g|js|jsonl?|lab|log|lst|m3u8?|md|midi?|nfo|npy|npz"
    r"|parquet|pdf|png|py|rst|rtf|sh|svg|textgrid|tsv|txt|xlsx?|xml|ya?ml)|licen[cs]e|readme|makefile",
    re.IGNORECASE | re.DOTALL,
)
"""Names of what lies beside recordings, and of hidden files."""
AUDIO_BEGINNING = re.compile(
    rb"RIFF....(WAVE|AVI )|RIFX....WAVE|(RF64|BW64)....WAVE|riff\x2e\x91\xcf\x11|FORM....(AIFF|AIFC|8SVX|16SV)"
    rb"|caff\0\x01|\.snd|NIST_1A|fLaC|OggS|ID3[\x02-\x04]|\xff[\xe2\xe3\xf2-\xf5\xfa-\xfd][\x10-\xeb]|\xff[\xf0\xf1\xf8\xf9]"
    rb"|\x0b\x77|\x7f\xfe\x80\x01|....ftyp(?!heic|heix|mif1|msf1|avif)|....moov|\x1a\x45\xdf\xa3"
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|FLV\x01|#!AMR|MAC |wvpk|TTA[12]|MPCK|MP\+|\.RMF|Creative Voice File"
    rb"|\0\0\x01[\xba\xb3]|\x47.{187}\x47|.{4}\x47.{191}\x47",
    re.DOTALL,
)
"""The first bytes of recordings and films, by which those without a known ending are found."""


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
    events: pd.DataFrame | None = None
    """Labels in time, where they are known: columns clip, start_s, end_s, label, and where, for messages."""


def expand_user(path: str, key: str) -> Path:
    """A path that may begin with ~. Raises UserError that names the recipe's key."""
    if "\0" in path:
        raise UserError(f"{key} {path!r} has a zero byte, which no path has: write it anew")
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


def list_files(folder: Path) -> list[Path]:
    """Files below `folder`, sorted, without those in hidden folders.

    Links to folders are followed, but not to folders around them. Raises OSError for a folder that cannot be listed.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_raise, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(Path(parent, name))]
        found += [Path(parent, name) for name in names]
    return sorted(found)


def find_audio_files(folder: Path, left_out: list[Path] | None = None, *, allow_non_utf8: bool = False) -> list[Path]:
    """Recordings among the files of `list_files`, by name or else by content, sorted, without hidden ones.

    Adds to `left_out` the files that are neither recordings nor what lies beside them. Raises OSError for a folder that
    cannot be listed, and UserError for a name that is not UTF-8 unless `allow_non_utf8`.
    """
    found = []
    for path in list_files(folder):
        if is_recording(path):
            found.append(path)
        elif left_out is not None and not COMPANION_NAME.fullmatch(path.name):
            left_out.append(path)
    return found if allow_non_utf8 else list(map(require_utf8_name, found))


def _leads_back(path: Path) -> bool:
    """Whether a folder is a link to one that it was reached through, or that is around that."""
    if not path.is_symlink():
        return False
    target, around = os.path.realpath(path), {os.path.realpath(each) for each in path.parents}
    return any(Path(each).is_relative_to(target) for each in around)


def is_recording(path: Path) -> bool:
    """Whether a file is named as a recording, or else begins as one."""
    if AUDIO_NAME.fullmatch(path.name):
        return True
    if COMPANION_NAME.fullmatch(path.name) or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return bool(AUDIO_BEGINNING.match(file.read(256)))
    except OSError:
        return False


def describe_left_out(folder: Path, left_out: Iterable[Path]) -> list[str]:
    """A sentence on the files that were left out, if any."""
    endings = Counter(path.suffix.lower() or "no ending" for path in left_out)
    if not endings:
        return []
    counts = ", ".join(f"{ending} {n}" for ending, n in endings.most_common(5))
    return [
        f"{endings.total()} files below {folder} are no recordings, by name and content, and are left out ({counts})"
    ]


def describe_unnamed(folder: Path, paths: Collection[str]) -> list[str]:
    """A sentence on the files below `folder` that are called as recordings and are not among `paths`, if any.

    Folders that cannot be listed are no error, and links to folders are not followed: they need not be the dataset's.
    """
    unnamed = set[str]()
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        unnamed.update(f"{parent}/{name}" for name in names if AUDIO_NAME.fullmatch(name))
    unnamed.difference_update(paths)
    if unnamed:  # or named by way of a link, or of `..`, or in another form of Unicode, as a Mac allows
        named = {unicodedata.normalize("NFC", os.path.realpath(path)) for path in paths}
        unnamed = {path for path in unnamed if unicodedata.normalize("NFC", os.path.realpath(path)) not in named}
    if not unnamed:
        return []
    first = os.path.relpath(min(unnamed), folder)
    return [f"{len(unnamed)} recordings below {folder} are in no table and are left out, the first {first!r}"]


def _raise(error: OSError) -> None:
    raise error


def find_recording(folder: Path, name: str) -> str:
    """The path of the recording that a table calls `name`, which may differ in outer spaces or Unicode form."""
    forms = (name, name.strip(), *(unicodedata.normalize(form, name.strip()) for form in ("NFC", "NFD")))
    paths = [str(folder / form) for form in forms]
    return next((path for path in paths if os.path.lexists(path)), paths[0])


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
