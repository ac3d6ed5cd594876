"""Windows of several recordings in one batch: in which order, and what becomes of those that fail or are cancelled."""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import torch

from core.sandbox import Cancelled
from serve import scoring_queue
from serve.scoring_queue import ScoringQueue
from train.evaluate.window_scorer import WindowScores
from train.evaluate.windows import WindowChunk


class Scorer:
    """Scores a window by its first frame, once it may; notes the number of windows of each chunk of a batch."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.may_score = threading.Event()

    def score_chunks(self, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        assert self.may_score.wait(10)
        self.batches.append([len(chunk.starts) for chunk in chunks])
        if any(chunk.first < 0 for chunk in chunks):
            raise ValueError("a chunk that fails")
        return [WindowScores(chunk.starts, chunk.starts[:, None].astype(np.float32)) for chunk in chunks]


def make_chunk(n_windows: int, first: int = 0) -> WindowChunk:
    return WindowChunk(np.arange(n_windows) + first, first, torch.zeros(1))


@pytest.fixture
def scorer() -> Scorer:
    return Scorer()


@pytest.fixture
def ask(scorer: Scorer) -> Iterator[Callable[..., "Future[WindowScores]"]]:
    """Has a chunk scored in a thread of its own, after those before it have been taken in."""
    queue: Any = ScoringQueue(scorer, 1, lambda: 1)  # type: ignore[arg-type]
    with ThreadPoolExecutor(16) as recordings:

        def ask(
            n_windows: int, n_scored: int = 0, first: int = 0, cancelled: threading.Event | None = None
        ) -> "Future[WindowScores]":
            scores = recordings.submit(
                queue.score, make_chunk(n_windows, first), n_scored, cancelled or threading.Event()
            )
            time.sleep(0.05)
            return scores

        yield ask
        scorer.may_score.set()
    queue.close()


def test_short_recordings_share_a_batch_and_get_their_own_scores(scorer: Scorer, ask: Callable[..., Any]) -> None:
    asked = [ask(3, first=100 * index) for index in range(15)]
    scorer.may_score.set()
    for index, scores in enumerate(asked):
        np.testing.assert_array_equal(scores.result(10).scores[:, 0], 100 * index + np.arange(3))
    assert scorer.batches == [[3], [3] * 10, [3] * 4]  # the first did not wait; a batch has 32 windows at most


def test_the_recording_with_the_fewest_scored_windows_is_next(scorer: Scorer, ask: Callable[..., Any]) -> None:
    asked = [ask(1), ask(64, n_scored=128), ask(63, n_scored=64), ask(2), ask(62, n_scored=64), ask(4)]
    scorer.may_score.set()
    for scores in asked:
        scores.result(10)
    assert scorer.batches == [[1], [2, 4], [63], [62], [64]]


def test_a_chunk_that_fails_costs_its_own_recording_alone(scorer: Scorer, ask: Callable[..., Any]) -> None:
    first, good, bad, other = ask(1), ask(2), ask(3, first=-5), ask(4)
    scorer.may_score.set()
    with pytest.raises(ValueError, match="a chunk that fails"):
        bad.result(10)
    assert [len(each.result(10).scores) for each in (first, good, other)] == [1, 2, 4]
    assert scorer.batches == [[1], [2, 3, 4], [2], [3], [4]]


def test_a_cancelled_recording_leaves_the_queue(scorer: Scorer, ask: Callable[..., Any]) -> None:
    cancelled = threading.Event()
    first, gone, good = ask(1), ask(2, cancelled=cancelled), ask(3)
    cancelled.set()
    with pytest.raises(Cancelled):
        gone.result(1)
    scorer.may_score.set()
    assert [len(each.result(10).scores) for each in (first, good)] == [1, 3]
    assert scorer.batches == [[1], [3]]


def test_a_recording_that_is_cancelled_while_it_is_scored_does_not_wait(
    scorer: Scorer, ask: Callable[..., Any]
) -> None:
    cancelled = threading.Event()
    scores = ask(1, cancelled=cancelled)
    cancelled.set()
    with pytest.raises(Cancelled):
        scores.result(1)


@pytest.mark.parametrize(("n_under_way", "n_threads"), [(0, 4), (1, 4), (2, 2), (9, 1)])
def test_recordings_under_way_share_the_cores(n_under_way: int, n_threads: int) -> None:
    threads: list[int] = []

    class CountingScorer(Scorer):
        def score_chunks(self, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
            threads.append(torch.get_num_threads())
            return super().score_chunks(chunks)

    scorer = CountingScorer()
    scorer.may_score.set()
    queue = ScoringQueue(scorer, 4, lambda: n_under_way)  # type: ignore[arg-type]
    queue.score(make_chunk(2), 0, threading.Event())
    queue.close()
    assert threads == [n_threads]


def test_heaps_are_trimmed_after_every_few_batches(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> None:
    trims = list[int]()
    monkeypatch.setattr(scoring_queue, "trim_heap", lambda: trims.append(len(scorer.batches)))
    scorer.may_score.set()
    queue = ScoringQueue(scorer, 1, lambda: 1)  # type: ignore[arg-type]
    for _ in range(2 * scoring_queue.BATCHES_PER_TRIM + 1):
        queue.score(make_chunk(1), 0, threading.Event())
    queue.close()
    assert trims == [scoring_queue.BATCHES_PER_TRIM, 2 * scoring_queue.BATCHES_PER_TRIM]
