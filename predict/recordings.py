"""Recordings that belong to no dataset: a file, or all below a folder."""

import re
from dataclasses import dataclass
from pathlib import Path

from errors import BadInput
from preprocess.listing import audio_files, check_name


@dataclass(frozen=True)
class Recording:
    """A recording to score, and what it is called in the CSVs."""

    clip: str
    path: Path


def find_recordings(source: Path) -> list[Recording]:
    """The recording `source`, or those below it by their paths within it, sorted. Raises BadInput if there is none."""
    if source.is_dir():
        found = [Recording(path.relative_to(source).as_posix(), path) for path in audio_files(source)]
        if not found:
            raise BadInput(f"{source} holds no recording: INPUT= names a recording, or a folder of them")
        return found
    if not source.exists():
        raise BadInput(f"{source} is not there: INPUT= names a recording, or a folder of them")
    return [Recording(source.name, check_name(source))]


def suffix_of(source: Path) -> str:
    """What tells the files of a submission of recordings apart from those of the run's dataset.

    >>> suffix_of(Path("field trip/2024 é.wav"))
    '_on_2024_é'
    """
    whole = source.resolve()
    return "_on_" + (re.sub(r"[^\w.-]+", "_", whole.name if whole.is_dir() else whole.stem) or "recordings")
