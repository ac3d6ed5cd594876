"""What has been heard of recordings, kept as it is heard: a run that stops goes on where it was."""

import hashlib
import json
import os
import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import xxhash

from core.files import atomic_write
from predict.decoding.messages import DecodingFinished
from predict.inference import windowing
from predict.inference.tagger import TrainedRun, WindowScores
from preprocess.store.file_identity import content_fingerprint, file_fingerprint, is_same_file, stat_fingerprint

SCORE_KEYS = ("window_seconds", "hop_seconds", "mode", "blend", "view_shifts_s", "view_gains_db", "view_windows_s")
"""The keys of `prediction` that the scores of windows depend on."""
_HEAD = struct.Struct("<Q16s")
"""Before arrays that were written together: their bytes, and the digest of those."""


@dataclass(frozen=True)
class RecordingScores:
    """A recording heard to its end: its windows, and where in time they lie."""

    window_scores: list[WindowScores]
    start_s: float
    duration_s: float


def open_score_cache(folder: Path, run: TrainedRun) -> "ScoreCache":
    """The journal of what a run's networks hear by its windows; other weights and windows have others."""
    windows = [getattr(run.prediction, key) for key in SCORE_KEYS]
    digest = hashlib.sha256(json.dumps([run.digest, windows, windowing.CHUNK_WINDOWS]).encode())
    return ScoreCache(folder / digest.hexdigest()[:16])


@dataclass(frozen=True)
class ScoreCache:
    """A folder: a whole file a recording that is finished, and a growing one of spans for the others."""

    folder: Path

    def lookup(self, path: Path) -> "CachedRecording":
        """What is known of a recording, as long as the file is the same. A link shares the page of its target."""
        real = os.path.realpath(path)  # Path.resolve raises where links go in a circle
        stamp = file_fingerprint(str(path))
        content = content_fingerprint(stamp) if stamp else ""
        key = hashlib.sha256(f"{real}\0{content}".encode("utf-8", "surrogateescape"))
        return CachedRecording(self.folder / f"{key.hexdigest()[:24]}.npy", path, stamp)


class CachedRecording:
    """One recording's page: spans are added to a draft as they are heard, and all of them make the finished page.

    In both, what was written together stands behind its digest: anything else counts as not heard. A recording of one
    span has no draft.
    """

    def __init__(self, path: Path, recording: Path, stamp: str) -> None:
        self.path, self.recording, self.stamp = path, recording, stamp
        self.window_scores: list[WindowScores] = []
        self._n_saved = 0

    @property
    def partial_path(self) -> Path:
        return self.path.with_suffix(".part")

    def load_finished(self) -> RecordingScores | None:
        """All windows of the recording, if it was heard to its end."""
        try:
            with self.path.open("rb") as file:
                arrays = _load(file)
        except OSError:
            return None
        if len(arrays) != 3:
            return None
        starts, scores, (start_s, duration_s) = arrays
        return RecordingScores([WindowScores(starts, scores)], float(start_s), float(duration_s))

    def load_partial(self) -> list[WindowScores]:
        """The spans that an interrupted run has kept; from the first on that is not whole or not the next, cut off."""
        self.window_scores.clear()
        if self.partial_path.exists():
            with self.partial_path.open("r+b") as file:
                whole = 0
                while len(arrays := _load(file)) == 2 and self._is_next(arrays[0]):
                    self.window_scores.append(WindowScores(*arrays))
                    whole = file.tell()
                file.truncate(whole)
        self._n_saved = len(self.window_scores)
        return self.window_scores

    def _is_next(self, starts: np.ndarray) -> bool:
        """Whether windows begin a hop after the last one that was kept, or where there is none, at the start."""
        if not self.window_scores:
            return int(starts[0]) == 0
        first, last = self.window_scores[0].start_frames, self.window_scores[-1].start_frames
        return len(first) > 1 and int(starts[0] - last[-1]) == int(first[1] - first[0])

    def add(self, window_scores: WindowScores) -> None:
        """Keep another span."""
        self.window_scores.append(window_scores)
        if len(self.window_scores) == 1:
            return
        self.partial_path.parent.mkdir(parents=True, exist_ok=True)
        with self.partial_path.open("ab") as file:
            for part in self.window_scores[self._n_saved :]:
                _save(file, part.start_frames, part.scores)
        self._n_saved = len(self.window_scores)

    def finish(self, end: DecodingFinished) -> RecordingScores | None:
        """Keep the whole recording in place of its spans; None, and nothing kept, where the file has changed since."""
        if not is_same_file(self.stamp, stat_fingerprint(str(self.recording)), str(self.recording)):
            self.partial_path.unlink(missing_ok=True)
            return None
        starts = np.concatenate([part.start_frames for part in self.window_scores])
        scores = np.concatenate([part.scores for part in self.window_scores])
        # Synced where a minute or more would be lost; to a page of one span a power cut is damage, as its digest tells.
        with atomic_write(self.path, fsync=len(self.window_scores) > 1) as temporary, temporary.open("wb") as file:
            _save(file, starts, scores, np.array([end.start_s, end.duration_s]))
        self.partial_path.unlink(missing_ok=True)
        return RecordingScores(self.window_scores, end.start_s, end.duration_s)


def _save(file: BinaryIO, *arrays: np.ndarray) -> None:
    """Put arrays at the end of a file, behind their digest."""
    content = BytesIO()
    for array in arrays:
        np.save(content, array)
    file.write(_HEAD.pack(len(content.getvalue()), xxhash.xxh3_128_digest(content.getvalue())) + content.getvalue())


def _load(file: BinaryIO) -> list[np.ndarray]:
    """The next arrays that were saved together; none where they are not what was saved."""
    head = file.read(_HEAD.size)
    n_bytes, digest = _HEAD.unpack(head) if len(head) == _HEAD.size else (0, b"")
    left = os.fstat(file.fileno()).st_size - file.tell()
    content = BytesIO(file.read(n_bytes) if n_bytes <= left else b"")  # a damaged number would ask for all memory
    if xxhash.xxh3_128_digest(content.getvalue()) != digest:
        return []
    arrays = []
    while content.tell() < n_bytes:
        arrays.append(np.load(content, allow_pickle=False))
    return arrays
