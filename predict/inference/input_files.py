"""Recordings that belong to no dataset: a file, or all below a folder."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import BadInput
from core.paths import OF_INPUT
from preprocess.dataset.discovery import audio_files


@dataclass(frozen=True)
class Recording:
    """A recording to score, and what it is called in the CSVs."""

    clip: str
    path: Path


def find_recordings(source: Path) -> list[Recording]:
    """The recording `source`, or those below it by their paths within it, sorted. Raises BadInput if there is none."""
    if source.is_dir():
        files = audio_files(source, any_name=True)
        found = [Recording(_in_text(path.relative_to(source)), path) for path in files]
        if not found:
            raise BadInput(f"{source} holds no recording: INPUT= names a recording, or a folder of them")
        return found
    if not source.exists():
        raise BadInput(f"{source} is not there: INPUT= names a recording, or a folder of them")
    return [Recording(_in_text(Path(source.name)), source)]


def _in_text(path: Path) -> str:
    r"""A path as it stands in a CSV; bytes that are not UTF-8 as \xff."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def suffix_of(source: Path) -> str:
    """What tells the files of a submission of recordings apart from those of the run's dataset.

    >>> suffix_of(Path("field trip/2024 é.wav"))
    '_on_2024_é'
    """
    whole = Path(os.path.realpath(source))  # Path.resolve raises where links go in a circle
    return OF_INPUT + (re.sub(r"[^\w.-]+", "_", whole.name if whole.is_dir() else whole.stem) or "recordings")
