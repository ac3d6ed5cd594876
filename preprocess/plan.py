"""What is done already: the clips whose frames are in the store or in finished parts, and those that cannot be read."""

from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path

import numpy as np

from preprocess.jobs import ClipJob, PartJob
from preprocess.store import Store, Stored, open_store
from preprocess.store_writer import Piece
from recipe import Features

PART_CLIPS, PART_BYTES = 32, 1 << 26
"""A part has at most so many clips, of so many bytes: what is lost when a worker is killed."""


class Done:
    """Frames that can be used as they are: pieces by clip."""

    def __init__(self, features: Features, stamps: dict[str, str], say: Callable[[str], None]) -> None:
        self.features, self.stamps, self.say = features, stamps, say
        self.pieces: dict[str, list[Piece]] = {}

    def take(self, path: Path) -> list[str]:
        """Add what a store has of the wanted clips, and say what is damaged. The clips of the store, in its order."""
        with open_store(path, self.features) as store:
            damaged = set(store.damaged_rows())
            for row in sorted(damaged):
                self.say(f"{path}: the frames of {store.clips[row]!r} are damaged and computed again")
            spoilt = {store.clips[row] for row in damaged} | self.pieces.keys()
            for row, clip in enumerate(store.clips):
                if clip not in spoilt and self.stamps.get(clip) == store.sources[row]:
                    self.pieces.setdefault(clip, []).append(piece_of(store, row))
            return [] if damaged else store.clips


def piece_of(store: Store, row: int) -> Piece:
    """A row of a store, to be written to another; it needs no open file."""
    frame_bytes = store.n_bins * store.dtype.itemsize
    at = store.frames_at + int(store.offsets[row]) * frame_bytes
    return Piece(store.row(row), partial(_read, store.path, at, store.dtype, store.n_bins), store.path)


def _read(path: Path, at: int, dtype: np.dtype, n_bins: int, start: int, stop: int) -> Stored:
    frame_bytes = n_bins * dtype.itemsize
    values = np.fromfile(path, dtype, (stop - start) * n_bins, offset=at + start * frame_bytes)
    return values.reshape(-1, n_bins)


def cut_into_parts(clips: Iterable[ClipJob], n_jobs: int, name: Callable[[], Path]) -> list[PartJob]:
    """Jobs of about equal work, the largest recordings first, small enough to keep every worker busy to the end."""
    sized = sorted(
        ((Path(clip.path).stat().st_size if Path(clip.path).exists() else 0, clip) for clip in clips),
        key=lambda pair: -pair[0],
    )
    most = max(1, min(PART_CLIPS, len(sized) // (4 * n_jobs)))
    jobs, waiting, n_bytes = [], [], 0
    for size, clip in sized:
        waiting.append(clip)
        n_bytes += size
        if len(waiting) >= most or n_bytes >= PART_BYTES:
            jobs.append(PartJob(name(), tuple(waiting)))
            waiting, n_bytes = [], 0
    if waiting:
        jobs.append(PartJob(name(), tuple(waiting)))
    return jobs
