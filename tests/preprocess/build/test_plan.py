"""What is kept, what is computed, and in what parts."""

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.build.messages import ClipJob
from preprocess.build.plan import (
    MOST_BYTES,
    MOST_CLIPS,
    WORKER_BYTES,
    WORKER_CLIPS,
    Wanted,
    count_workers,
    cut_into_parts,
)


def wanted(sizes: list[int]) -> list[Wanted]:
    return [Wanted(ClipJob(str(number), ""), f"{size}:1") for number, size in enumerate(sizes)]


@given(st.lists(st.integers(0, 1 << 28), max_size=300), st.integers(1, 64))
def test_parts_hold_every_clip_once_and_not_too_much(sizes: list[int], n_jobs: int) -> None:
    numbers = count()
    parts = list(cut_into_parts(wanted(sizes), n_jobs, lambda: Path(f"{next(numbers)}.part")))
    clips = [clip.clip for part in parts for clip in part.clips]
    assert sorted(clips, key=int) == [str(number) for number in range(len(sizes))]
    assert len({part.part for part in parts}) == len(parts)
    for part in parts:
        inside = [sizes[int(clip.clip)] for clip in part.clips]
        assert 0 < len(part.clips) <= MOST_CLIPS
        assert sum(inside[:-1]) < MOST_BYTES


@pytest.mark.parametrize(
    ("sizes", "n_workers"),
    [
        ([100] * WORKER_CLIPS, 1),
        ([100] * (WORKER_CLIPS + 1), 2),
        ([100] * 1000, 16),
        ([WORKER_BYTES], 1),
        ([10 * WORKER_BYTES], 1),
        ([WORKER_BYTES] * 3, 3),
        ([0], 1),
    ],
)
def test_a_small_set_is_not_spread_over_many_workers(sizes: list[int], n_workers: int) -> None:
    assert count_workers(wanted(sizes), 16) == n_workers


def test_the_last_parts_are_short() -> None:
    parts = list(cut_into_parts(wanted([40_000] * 400), 2, lambda: Path("0.part")))
    assert [len(part.clips) for part in parts[-3:]] == [2, 2, 2]
    assert len(parts) < 24


def test_large_recordings_come_first_and_alone() -> None:
    parts = list(cut_into_parts(wanted([10] * 20 + [1 << 30] * 2), 2, lambda: Path("0.part")))
    assert [len(part.clips) for part in parts[:2]] == [1, 1]
