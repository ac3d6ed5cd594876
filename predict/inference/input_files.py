"""Recordings that belong to no dataset: a file, or all below a folder."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
from core.paths import INPUT_INFIX
from preprocess.dataset.discovery import find_audio_files


@dataclass(frozen=True)
class InputFile:
    """A recording to score, and what it is called in the CSVs."""

    clip: str
    path: Path


def find_input_files(source: Path) -> list[InputFile]:
    """The recording `source`, or those below it by their paths within it, sorted. Raises UserError if there is none."""
    if source.is_dir():
        files = find_audio_files(source, allow_non_utf8=True)
        found = [InputFile(_path_to_text(path.relative_to(source)), path) for path in files]
        if not found:
            raise UserError(f"{source} holds no recording: INPUT= names a recording, or a folder of them")
        return found
    if not source.exists():
        raise UserError(f"{source} is not there: INPUT= names a recording, or a folder of them")
    return [InputFile(_path_to_text(Path(source.name)), source)]


def _path_to_text(path: Path) -> str:
    r"""A path as it stands in a CSV; bytes that are not UTF-8 as \xff."""
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def input_suffix(source: Path) -> str:
    """What tells the files of a submission of recordings apart from those of the run's dataset.

    >>> input_suffix(Path("field trip/2024 é.wav"))
    '_on_2024_é'
    """
    resolved = Path(os.path.realpath(source))  # Path.resolve raises where links go in a circle
    return INPUT_INFIX + (
        re.sub(r"[^\w.-]+", "_", resolved.name if resolved.is_dir() else resolved.stem) or "recordings"
    )
