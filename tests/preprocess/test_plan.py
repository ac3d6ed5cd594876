"""What is kept, what is computed, and in what parts."""

from itertools import count
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from preprocess.jobs import ClipJob
from preprocess.plan import FEWEST_CLIPS, MOST_BYTES, MOST_CLIPS, Wanted, cut_into_parts


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


@pytest.mark.parametrize(("n_clips", "n_parts"), [(1, 1), (FEWEST_CLIPS, 1), (FEWEST_CLIPS + 1, 2)])
def test_a_small_set_is_not_spread_over_many_workers(n_clips: int, n_parts: int) -> None:
    assert len(list(cut_into_parts(wanted([100_000] * n_clips), 16, lambda: Path("0.part")))) == n_parts


def test_large_recordings_come_first_and_alone() -> None:
    parts = list(cut_into_parts(wanted([10] * 20 + [1 << 30] * 2), 2, lambda: Path("0.part")))
    assert [len(part.clips) for part in parts[:2]] == [1, 1]
