"""What is done already and what is to be done: rows that can be kept, and parts for workers to compute."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from preprocess.jobs import ClipJob, PartJob
from preprocess.store import Row, Store, Stored, open_store
from preprocess.store_writer import Piece
from recipe import Features

MOST_CLIPS, MOST_BYTES = 64, 1 << 27
"""Of a part, which is lost when its worker is killed."""
FEWEST_CLIPS, FEWEST_BYTES = 8, 1 << 22
"""Of a part, and so of a worker: less is not worth the half second in which a process starts."""


@dataclass(frozen=True)
class Wanted:
    """A clip that is to be in the store."""

    job: ClipJob
    source: str
    """Stamp of its recording."""

    @property
    def n_bytes(self) -> int:
        """Size of its recording."""
        return int(self.source.partition(":")[0] or 0)


class Done:
    """Rows that need not be computed, by clip."""

    def __init__(self, features: Features, wanted: Mapping[str, Wanted]) -> None:
        self.features, self.wanted = features, wanted
        self.pieces: dict[str, list[Piece]] = {}

    def take(self, path: Path, check: bool = True) -> tuple[list[Row], list[str]]:
        """Keep what a store has of the clips wanted; `check` the digests of its frames, as where it may be old.

        Returns all its rows, and the clips of which frames are damaged. Raises BadInput where all of it is of no use.
        """
        with open_store(path, self.features) as store:
            damaged = {store.clips[row] for row in store.damaged_rows()} if check else set()
            rows = [store.row(index) for index in range(len(store.clips))]
            found: dict[str, list[Piece]] = {}
            for index, row in enumerate(rows):
                wanted = self.wanted.get(row.clip)
                if wanted and wanted.source == row.source and row.clip not in damaged:
                    found.setdefault(row.clip, []).append(piece_of(store, index))
        for clip, pieces in found.items():
            n_rows = 1 + self.wanted[clip].job.n_copies
            if len(pieces) >= n_rows:
                self.pieces.setdefault(clip, pieces[:n_rows])
        return rows, sorted(damaged)

    def in_order(self) -> list[Piece]:
        """All rows, clip by clip, in the order in which the clips are wanted."""
        return [piece for clip in self.wanted for piece in self.pieces.get(clip, [])]


def piece_of(store: Store, index: int) -> Piece:
    """A row of a store, to be copied to another; it keeps no file open."""
    frame_bytes = store.n_bins * store.dtype.itemsize
    at = store.frames_at + int(store.offsets[index]) * frame_bytes
    return Piece(store.row(index), partial(_fill, store.path, at), store.path)


def _fill(path: Path, at: int, start: int, out: Stored) -> None:
    """Frames from `start` on of a row that begins at byte `at`; where the file ends early, their digest will tell."""
    with path.open("rb", buffering=0) as file:
        file.seek(at + start * out.strides[0])
        file.readinto(out.data)


def cut_into_parts(wanted: Iterable[Wanted], n_jobs: int, name: Callable[[], Path]) -> Iterator[PartJob]:
    """Parts of ever fewer clips, the largest recordings first, so that all workers are busy to the end."""
    clips = sorted(wanted, key=lambda one: one.n_bytes, reverse=True)
    left_bytes, start = sum(one.n_bytes for one in clips), 0
    while start < len(clips):
        most_clips = max(FEWEST_CLIPS, min(MOST_CLIPS, (len(clips) - start) // (2 * n_jobs)))
        most_bytes = max(FEWEST_BYTES, min(MOST_BYTES, left_bytes // (2 * n_jobs)))
        stop, n_bytes = start, 0
        while stop < min(start + most_clips, len(clips)) and n_bytes < most_bytes:
            n_bytes += clips[stop].n_bytes
            stop += 1
        yield PartJob(name(), tuple(one.job for one in clips[start:stop]))
        left_bytes, start = left_bytes - n_bytes, stop
