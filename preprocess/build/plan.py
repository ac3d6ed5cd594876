"""What is done already and what is to be done: rows that can be kept, and shards for workers to compute."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from preprocess.build.shard_task import ClipJob
from preprocess.store.encoding import encoding_for
from preprocess.store.file_identity import is_same_file, size_in_fingerprint
from preprocess.store.reader import open_store
from preprocess.store.schema import EncodedFrames, Row
from preprocess.store.shards import read_shard
from preprocess.store.writer import RowSource
from recipe import Features

MAX_SHARD_CLIPS, MAX_SHARD_BYTES = 64, 1 << 27
"""Of a shard, which is lost when its worker is killed; preprocess.build.worker bounds it by time as well."""
MIN_SHARD_CLIPS, MIN_SHARD_BYTES = 2, 1 << 20
"""Of a shard: the last ones are short, so that no worker is long alone."""
MIN_CLIPS_PER_WORKER, MIN_BYTES_PER_WORKER = 8, 1 << 22
"""For one worker more: less is not worth the half second in which a process starts."""


@dataclass(frozen=True)
class PlannedClip:
    """A clip that is to be in the store."""

    job: ClipJob
    source: str
    """Stat fingerprint of its recording."""

    @property
    def n_bytes(self) -> int:
        """Size of its recording."""
        return size_in_fingerprint(self.source)

    def matches_source(self, source_fingerprint: str) -> bool:
        """Whether what has this fingerprint is of its recording."""
        return is_same_file(source_fingerprint, self.source, self.job.path)


class ReusableRows:
    """Rows that need not be computed, by clip."""

    def __init__(self, features: Features, planned: Mapping[str, PlannedClip]) -> None:
        self.features, self.planned = features, planned
        self.row_sources: dict[str, list[RowSource]] = {}

    def add_store(self, path: Path) -> tuple[list[Row], set[str]]:
        """Keep what a store has of the planned clips.

        Returns all its rows, and the clips of which frames are damaged. Raises UserError where all of it is of no use.
        """
        with open_store(path, self.features) as store:
            corrupt = {store.clips[row] for row in store.corrupt_rows()}
            rows = [store.row(index) for index in range(len(store.clips))]
        self.add_rows(path, rows, corrupt, store.frames_at)
        return rows, corrupt

    def add_shard(self, path: Path) -> tuple[list[Row], set[str]]:
        """Keep what a shard of an earlier run has of the planned clips; else as `add_store`."""
        rows, corrupt = read_shard(path, self.features)
        self.add_rows(path, rows, corrupt)
        return rows, corrupt

    def add_rows(self, path: Path, rows: Iterable[Row], corrupt: Collection[str] = (), frames_at: int = 0) -> None:
        """Keep rows of planned clips that are not `corrupt`, whose frames stand end to end in a file from a byte on."""
        encoding = encoding_for(self.features)
        frame_bytes, found = encoding.n_bins * encoding.dtype.itemsize, defaultdict[str, list[RowSource]](list)
        for row in rows:
            planned = self.planned.get(row.clip)
            if planned and row.clip not in corrupt and planned.matches_source(row.source):
                found[row.clip].append(RowSource(row, partial(_fill, path, frames_at), path))
            frames_at += row.n_frames * frame_bytes
        for clip, row_sources in found.items():
            n_rows = 1 + self.planned[clip].job.n_augmentations
            if len(row_sources) >= n_rows:
                self.row_sources.setdefault(clip, row_sources[:n_rows])

    def ordered_row_sources(self) -> list[RowSource]:
        """All rows, clip by clip, in the order in which the clips are planned."""
        return [row_source for clip in self.planned for row_source in self.row_sources.get(clip, [])]


def _fill(path: Path, at: int, start: int, out: EncodedFrames) -> None:
    """Frames from `start` on of a row that begins at byte `at`; where the file ends early, their digest will tell.

    No file stays open: there may be thousands of shards.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(at + start * out.strides[0])
        file.readinto(out.data)


def count_workers(planned: Collection[PlannedClip], n_jobs: int) -> int:
    """How many of `n_jobs` workers are worth their start."""
    n_bytes = sum(one.n_bytes for one in planned)
    return max(
        1, min(n_jobs, len(planned), max(-(-len(planned) // MIN_CLIPS_PER_WORKER), -(-n_bytes // MIN_BYTES_PER_WORKER)))
    )


def split_into_tasks(planned: Iterable[PlannedClip], n_jobs: int) -> Iterator[tuple[ClipJob, ...]]:
    """Parts of ever fewer clips, the largest recordings first, so that all workers are busy to the end."""
    clips = sorted(planned, key=lambda one: one.n_bytes, reverse=True)
    left_bytes, start = sum(one.n_bytes for one in clips), 0
    while start < len(clips):
        max_clips = max(MIN_SHARD_CLIPS, min(MAX_SHARD_CLIPS, (len(clips) - start) // (2 * n_jobs)))
        max_bytes = max(MIN_SHARD_BYTES, min(MAX_SHARD_BYTES, left_bytes // (2 * n_jobs)))
        stop, n_bytes = start, 0
        while stop < min(start + max_clips, len(clips)) and n_bytes < max_bytes:
            n_bytes += clips[stop].n_bytes
            stop += 1
        yield tuple(one.job for one in clips[start:stop])
        left_bytes, start = left_bytes - n_bytes, stop
