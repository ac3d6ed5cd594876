"""What is kept, what is computed, and in what parts."""

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.build.messages import ClipJob
from preprocess.build.plan import (
    MAX_SHARD_BYTES,
    MAX_SHARD_CLIPS,
    MIN_BYTES_PER_WORKER,
    MIN_CLIPS_PER_WORKER,
    PlannedClip,
    count_workers,
    make_shard_jobs,
)


def planned(sizes: list[int]) -> list[PlannedClip]:
    return [PlannedClip(ClipJob(str(number), ""), f"{size}:1") for number, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 1 << 28), max_size=300), st.integers(1, 64))
def test_parts_hold_every_clip_once_and_not_too_much(sizes: list[int], n_jobs: int) -> None:
    numbers = count()
    shards = list(make_shard_jobs(planned(sizes), n_jobs, lambda: Path(f"{next(numbers)}.shard")))
    clips = [clip.clip for shard in shards for clip in shard.clips]
    assert sorted(clips, key=int) == [str(number) for number in range(len(sizes))]
    assert len({shard.shard for shard in shards}) == len(shards)
    for shard in shards:
        inside = [sizes[int(clip.clip)] for clip in shard.clips]
        assert 0 < len(shard.clips) <= MAX_SHARD_CLIPS
        assert sum(inside[:-1]) < MAX_SHARD_BYTES


@pytest.mark.parametrize(
    ("sizes", "n_workers"),
    [
        ([100] * MIN_CLIPS_PER_WORKER, 1),
        ([100] * (MIN_CLIPS_PER_WORKER + 1), 2),
        ([100] * 1000, 16),
        ([MIN_BYTES_PER_WORKER], 1),
        ([10 * MIN_BYTES_PER_WORKER], 1),
        ([MIN_BYTES_PER_WORKER] * 3, 3),
        ([0], 1),
    ],
)
def test_a_small_set_is_not_spread_over_many_workers(sizes: list[int], n_workers: int) -> None:
    assert count_workers(planned(sizes), 16) == n_workers


def test_the_last_parts_are_short() -> None:
    shards = list(make_shard_jobs(planned([40_000] * 400), 2, lambda: Path("0.shard")))
    assert [len(shard.clips) for shard in shards[-3:]] == [2, 2, 2]
    assert len(shards) < 24


def test_large_recordings_come_first_and_alone() -> None:
    shards = list(make_shard_jobs(planned([10] * 20 + [1 << 30] * 2), 2, lambda: Path("0.shard")))
    assert [len(shard.clips) for shard in shards[:2]] == [1, 1]
