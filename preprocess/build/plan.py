"""What is done already and what is to be done: rows that can be kept, and parts for workers to compute."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from preprocess.build.messages import ClipJob, PartJob
from preprocess.store.encoding import coding_of
from preprocess.store.file_identity import is_same, size_of
from preprocess.store.reader import open_store
from preprocess.store.schema import Row, Stored
from preprocess.store.shards import read_part
from preprocess.store.writer import Piece
from recipe import Features

MOST_CLIPS, MOST_BYTES = 64, 1 << 27
"""Of a part, which is lost when its worker is killed; preprocess.build.worker bounds it by time as well."""
FEWEST_CLIPS, FEWEST_BYTES = 2, 1 << 20
"""Of a part: the last ones are short, so that no worker is long alone."""
WORKER_CLIPS, WORKER_BYTES = 8, 1 << 22
"""For one worker more: less is not worth the half second in which a process starts."""


@dataclass(frozen=True)
class Wanted:
    """A clip that is to be in the store."""

    job: ClipJob
    source: str
    """Quick stamp of its recording."""

    @property
    def n_bytes(self) -> int:
        """Size of its recording."""
        return size_of(self.source)

    def is_from(self, stamp: str) -> bool:
        """Whether what has this stamp is of its recording."""
        return is_same(stamp, self.source, self.job.path)


class Done:
    """Rows that need not be computed, by clip."""

    def __init__(self, features: Features, wanted: Mapping[str, Wanted]) -> None:
        self.features, self.wanted = features, wanted
        self.pieces: dict[str, list[Piece]] = {}

    def take_store(self, path: Path) -> tuple[list[Row], set[str]]:
        """Keep what a store has of the clips wanted.

        Returns all its rows, and the clips of which frames are damaged. Raises BadInput where all of it is of no use.
        """
        with open_store(path, self.features) as store:
            damaged = {store.clips[row] for row in store.damaged_rows()}
            rows = [store.row(index) for index in range(len(store.clips))]
        self.keep(path, rows, damaged, store.frames_at)
        return rows, damaged

    def take_part(self, path: Path) -> tuple[list[Row], set[str]]:
        """Keep what a part of an earlier run has of the clips wanted; else as `take_store`."""
        rows, damaged = read_part(path, self.features)
        self.keep(path, rows, damaged)
        return rows, damaged

    def keep(self, path: Path, rows: Iterable[Row], damaged: Collection[str] = (), frames_at: int = 0) -> None:
        """Keep rows whose frames stand in a file, end to end from a byte on, of the clips wanted and not `damaged`."""
        coding = coding_of(self.features)
        frame_bytes, found = coding.n_bins * coding.dtype.itemsize, defaultdict[str, list[Piece]](list)
        for row in rows:
            wanted = self.wanted.get(row.clip)
            if wanted and row.clip not in damaged and wanted.is_from(row.source):
                found[row.clip].append(Piece(row, partial(_fill, path, frames_at), path))
            frames_at += row.n_frames * frame_bytes
        for clip, pieces in found.items():
            n_rows = 1 + self.wanted[clip].job.n_copies
            if len(pieces) >= n_rows:
                self.pieces.setdefault(clip, pieces[:n_rows])

    def in_order(self) -> list[Piece]:
        """All rows, clip by clip, in the order in which the clips are wanted."""
        return [piece for clip in self.wanted for piece in self.pieces.get(clip, [])]


def _fill(path: Path, at: int, start: int, out: Stored) -> None:
    """Frames from `start` on of a row that begins at byte `at`; where the file ends early, their digest will tell.

    No file stays open: there may be thousands of parts.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(at + start * out.strides[0])
        file.readinto(out.data)


def count_workers(wanted: Collection[Wanted], n_jobs: int) -> int:
    """How many of `n_jobs` workers are worth their start."""
    n_bytes = sum(one.n_bytes for one in wanted)
    return max(1, min(n_jobs, len(wanted), max(-(-len(wanted) // WORKER_CLIPS), -(-n_bytes // WORKER_BYTES))))


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
