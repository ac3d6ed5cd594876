"""What is done already and what is to be done: rows that can be reused, and clips for workers to compute."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path

from preprocess.build.shard_task import ClipJob
from preprocess.store.encoding import count_frame_bytes
from preprocess.store.file_identity import is_same_file, size_in_fingerprint
from preprocess.store.reader import open_store
from preprocess.store.schema import EncodedFrames, Row
from preprocess.store.shards import read_shard
from preprocess.store.writer import RowSource
from recipe import Features

MAX_SHARD_CLIPS, MAX_SHARD_BYTES = 64, 1 << 27
"""A shard, which is lost when its worker is killed, holds at most so much; shard_task bounds it by time as well."""
MIN_SHARD_CLIPS, MIN_SHARD_BYTES = 2, 1 << 20
"""The last shards are as short as this, so that all workers end at about the same time."""
MIN_CLIPS_PER_WORKER, MIN_BYTES_PER_WORKER = 8, 1 << 22
"""Less than this is not worth the half second in which another worker starts."""


def read_rows(path: Path, features: Features) -> tuple[list[Row], set[str], int]:
    """The rows of a store or shard, the clips whose frames are damaged, and the byte at which the frames begin.

    Raises UserError where nothing of it can be used.
    """
    if path.suffix == ".shard":
        return *read_shard(path, features), 0
    with open_store(path, features) as store:
        return store.rows(), {store.clips[row] for row in store.corrupt_rows()}, store.frames_at


class ReusableRows:
    """Rows that need not be computed, by clip."""

    def __init__(self, features: Features, planned: Mapping[str, ClipJob]) -> None:
        self.features, self.planned = features, planned
        self.row_sources: dict[str, list[RowSource]] = {}

    def add_rows(self, path: Path, rows: Iterable[Row], corrupt: Collection[str] = (), frames_at: int = 0) -> None:
        """Add those rows of a file that are of planned clips and not `corrupt`; their frames begin at a byte."""
        frame_bytes, found = count_frame_bytes(1, self.features), defaultdict[str, list[RowSource]](list)
        for row in rows:
            planned = self.planned.get(row.clip)
            if planned and row.clip not in corrupt and is_same_file(row.source, planned.source, planned.path):
                found[row.clip].append(RowSource(row, partial(_read_frames, path, frames_at), path))
            frames_at += row.n_frames * frame_bytes
        for clip, row_sources in found.items():
            n_rows = 1 + self.planned[clip].n_augmentations
            if len(row_sources) >= n_rows:
                self.row_sources.setdefault(clip, row_sources[:n_rows])

    def ordered_row_sources(self) -> list[RowSource]:
        """All rows, clip by clip, in the order in which the clips are planned."""
        return [row_source for clip in self.planned for row_source in self.row_sources.get(clip, [])]


def _read_frames(path: Path, at: int, start: int, out: EncodedFrames) -> None:
    """Fill `out` with the frames from `start` on of a row that begins at byte `at`; the digest shows whether all came.

    No file stays open: there may be thousands of shards.
    """
    with path.open("rb", buffering=0) as file:
        file.seek(at + start * out.strides[0])
        file.readinto(out.data)


def count_workers(planned: Collection[ClipJob], n_jobs: int) -> int:
    """How many of `n_jobs` workers are worth their start."""
    n_bytes = sum(size_in_fingerprint(one.source) for one in planned)
    n_useful = max(math.ceil(len(planned) / MIN_CLIPS_PER_WORKER), math.ceil(n_bytes / MIN_BYTES_PER_WORKER))
    return max(1, min(n_jobs, len(planned), n_useful))


def split_into_tasks(planned: Iterable[ClipJob], n_jobs: int) -> Iterator[tuple[ClipJob, ...]]:
    """Split clips, the largest recordings first, into ever smaller tasks, so that all workers are busy to the end."""
    clips = sorted(planned, key=lambda one: size_in_fingerprint(one.source), reverse=True)
    left_bytes, start = sum(size_in_fingerprint(one.source) for one in clips), 0
    while start < len(clips):
        max_clips = max(MIN_SHARD_CLIPS, min(MAX_SHARD_CLIPS, (len(clips) - start) // (2 * n_jobs)))
        max_bytes = max(MIN_SHARD_BYTES, min(MAX_SHARD_BYTES, left_bytes // (2 * n_jobs)))
        stop, n_bytes = start, 0
        while stop < min(start + max_clips, len(clips)) and n_bytes < max_bytes:
            n_bytes += size_in_fingerprint(clips[stop].source)
            stop += 1
        yield tuple(clips[start:stop])
        left_bytes, start = left_bytes - n_bytes, stop
