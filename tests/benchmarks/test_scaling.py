"""The simulation of many workers, by cases that can be worked out by hand; real runs check it in the benchmark."""

import math

import pytest

from benchmarks.scaling import draw_durations, project, simulate


def dies_at(worker: int, at: float) -> object:
    return lambda who, now: at - now if who == worker and now <= at else math.inf


@pytest.mark.parametrize(
    ("n_workers", "expected_s"),
    [(1, 7.0), (2, 4.0), (3, 3.0), (9, 3.0)],
)
def test_tasks_go_to_the_first_free_worker(n_workers: int, expected_s: float) -> None:
    assert simulate([3.0, 2.0, 2.0], n_workers) == expected_s


def test_the_scheduler_deals_one_task_at_a_time() -> None:
    assert simulate([1.0] * 10, 10, dispatch_s=0.5) == 10 * 0.5 + 1.0
    assert simulate([1.0] * 4, 1, dispatch_s=0.5) == 4 * 1.5


def test_a_slow_worker_gets_fewer_tasks() -> None:
    assert simulate([1.0] * 4, 2, slow_factors={0: 3.0}) == 3.0
    assert simulate([1.0] * 4, 2) == 2.0


def test_a_lost_task_starts_again_and_its_worker_comes_back() -> None:
    # Worker 0 dies in the middle of its second task, which worker 1 takes at 2 s.
    assert simulate([1.0] * 4, 2, time_to_failure=dies_at(0, 1.5), restart_s=10.0) == 3.0  # type: ignore[arg-type]
    # Alone, it goes on when it is back.
    makespan_s = simulate([1.0] * 2, 1, time_to_failure=dies_at(0, 1.5), restart_s=10.0)  # type: ignore[arg-type]
    assert makespan_s == 1.5 + 10.0 + 1.0


def test_durations_have_their_mean() -> None:
    assert sum(draw_durations(100_000, 0.25)) / 100_000 == pytest.approx(0.25, rel=0.01)


def test_every_stage_and_corpus_is_projected(capsys: pytest.CaptureFixture[str]) -> None:
    project()
    printed = capsys.readouterr().out
    assert printed.count("AudioSet, make ") == printed.count("100 million hours, make ") == 3
    assert printed.count("share of the ideal: nothing goes wrong ") == 3
