"""How recordings are split into tasks, and how many workers they are worth."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.build.plan import (
    MAX_SHARD_BYTES,
    MAX_SHARD_CLIPS,
    MIN_BYTES_PER_WORKER,
    MIN_CLIPS_PER_WORKER,
    count_workers,
    split_into_tasks,
)
from preprocess.build.shard_task import ClipJob


def planned(sizes: list[int]) -> list[ClipJob]:
    return [ClipJob(str(number), "", source=f"{size}:1") for number, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 1 << 28), max_size=300), st.integers(1, 64))
def test_tasks_hold_every_clip_once_and_not_too_much(sizes: list[int], n_jobs: int) -> None:
    tasks = list(split_into_tasks(planned(sizes), n_jobs))
    clips = [clip.clip for task in tasks for clip in task]
    assert sorted(clips, key=int) == [str(number) for number in range(len(sizes))]
    for task in tasks:
        inside = [sizes[int(clip.clip)] for clip in task]
        assert 0 < len(task) <= MAX_SHARD_CLIPS
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


def test_the_last_tasks_are_short() -> None:
    tasks = list(split_into_tasks(planned([40_000] * 400), 2))
    assert [len(task) for task in tasks[-3:]] == [2, 2, 2]
    assert len(tasks) < 24


def test_large_recordings_come_first_and_alone() -> None:
    tasks = list(split_into_tasks(planned([10] * 20 + [1 << 30] * 2), 2))
    assert [[clip.clip for clip in task] for task in tasks[:2]] == [["20"], ["21"]]
