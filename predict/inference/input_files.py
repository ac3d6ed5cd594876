"""Recordings that belong to no dataset: a file, or all below a folder."""

from dataclasses import dataclass
from pathlib import Path

from core.errors import UserError
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
