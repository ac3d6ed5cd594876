"""What has been heard of recordings, kept as it is heard: a run that stops goes on where it was."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from predict import spans
from predict.hearing import End
from predict.tagger import Heard, Run
from preprocess.jobs import source_stamp
from preprocess.whole import written_whole

HEARD_BY = ("window_seconds", "hop_seconds", "mode", "blend", "view_shifts_s", "view_gains_db", "view_windows_s")
"""The keys of `prediction` that the scores of windows depend on."""


@dataclass(frozen=True)
class Finished:
    """A recording heard to its end: its windows, and where in time they lie."""

    heard: list[Heard]
    start_s: float
    duration_s: float


def open_journal(folder: Path, run: Run) -> "Journal":
    """The journal of what a run's networks hear by its windows; other weights and windows have others."""
    windows = [getattr(run.prediction, key) for key in HEARD_BY]
    mark = hashlib.sha256(json.dumps([run.digest, windows, spans.WINDOWS_AT_ONCE]).encode())
    return Journal(folder / mark.hexdigest()[:16])


@dataclass(frozen=True)
class Journal:
    """A folder: a whole file a recording that is finished, and a growing one of spans for the others."""

    folder: Path

    def entry(self, path: Path) -> "Entry":
        """What is known of a recording, as long as the file is the same."""
        key = hashlib.sha256(f"{path.resolve()}\0{source_stamp(str(path))}".encode("utf-8", "surrogateescape"))
        return Entry(self.folder / f"{key.hexdigest()[:24]}.npy")


class Entry:
    """One recording's page: spans are added to a draft as they are heard, and all of them make the finished page.

    Both are arrays one behind another. A recording of one span has no draft.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.heard: list[Heard] = []
        self._n_kept = 0

    @property
    def draft(self) -> Path:
        return self.path.with_suffix(".part")

    def finished(self) -> Finished | None:
        """All windows of the recording, if it was heard to its end."""
        try:
            with self.path.open("rb") as file:
                starts, scores, (start_s, duration_s) = (np.load(file, allow_pickle=False) for _ in range(3))
                return Finished([Heard(starts, scores)], float(start_s), float(duration_s))
        except (OSError, ValueError, EOFError):
            return None

    def begun(self) -> list[Heard]:
        """The spans that an interrupted run has kept; a last one that is not whole is cut off."""
        self.heard.clear()
        if self.draft.exists():
            with self.draft.open("r+b") as file:
                whole = 0
                try:
                    while True:
                        starts, scores = np.load(file, allow_pickle=False), np.load(file, allow_pickle=False)
                        self.heard.append(Heard(starts, scores))
                        whole = file.tell()
                except (EOFError, ValueError, OSError):
                    file.truncate(whole)
        self._n_kept = len(self.heard)
        return self.heard

    def add(self, heard: Heard) -> None:
        """Keep another span."""
        self.heard.append(heard)
        if len(self.heard) == 1:
            return
        self.draft.parent.mkdir(parents=True, exist_ok=True)
        with self.draft.open("ab") as file:
            for part in self.heard[self._n_kept :]:
                _save(file, part.start_frames, part.scores)
        self._n_kept = len(self.heard)

    def finish(self, end: End) -> Finished:
        """Keep the whole recording in place of its spans."""
        starts = np.concatenate([part.start_frames for part in self.heard])
        scores = np.concatenate([part.scores for part in self.heard])
        # Not synced: what a power cut takes is heard again.
        with written_whole(self.path, lasting=False) as temporary, temporary.open("wb") as file:
            _save(file, starts, scores, np.array([end.start_s, end.duration_s]))
        self.draft.unlink(missing_ok=True)
        return Finished(self.heard, end.start_s, end.duration_s)


def _save(file: BinaryIO, *arrays: np.ndarray) -> None:
    """Put arrays at the end of a file."""
    for array in arrays:
        np.save(file, array)
