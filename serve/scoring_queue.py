"""Windows of several recordings scored together: those of the recordings with the fewest windows scored first."""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, count

import torch

from core.resources import trim_heap
from core.sandbox import CANCEL_POLL_S, Cancelled
from train.evaluate.forward import CPU_BATCH_WINDOWS
from train.evaluate.window_scorer import WindowScorer, WindowScores
from train.evaluate.windows import WindowChunk

CPU = torch.device("cpu")
BATCHES_PER_TRIM = 128
"""Batches of many sizes leave gaps in the heap, which grows by them."""


@dataclass(order=True)
class _Waiting:
    """A chunk of a recording of which so many windows have been scored."""

    n_scored: int
    number: int
    chunk: WindowChunk = field(compare=False)
    scores: "Future[WindowScores]" = field(compare=False, default_factory=Future)


class ScoringQueue:
    """Threads that score chunks of windows, short ones of several recordings in one batch.

    Recordings under way share `n_jobs` cores: one that is alone has all of them.
    """

    def __init__(
        self, scorer: WindowScorer, n_jobs: int, n_under_way: Callable[[], int], device: torch.device = CPU
    ) -> None:
        self._scorer, self._n_jobs, self._n_under_way, self._numbers = scorer, n_jobs, n_under_way, count()
        self._n_batches = count(1)
        # A GPU's memory may have room for but one batch.
        self._threads = ThreadPoolExecutor(n_jobs if device.type == "cpu" else 1, "scoring")
        self._lock, self._waiting = threading.Lock(), list[_Waiting]()

    def score(self, chunk: WindowChunk, n_scored: int, cancelled: threading.Event) -> WindowScores:
        """The scores of a chunk, once it is its turn. Raises Cancelled by the event."""
        waiting = _Waiting(n_scored, next(self._numbers), chunk)
        with self._lock:
            self._waiting.append(waiting)
        self._threads.submit(self._score_next)
        while True:
            try:
                return waiting.scores.result(CANCEL_POLL_S)
            except TimeoutError:
                if cancelled.is_set():
                    waiting.scores.cancel()
                    raise Cancelled from None

    def close(self) -> None:
        """Wait for the batches that are being scored."""
        self._threads.shutdown(cancel_futures=True)

    def _score_next(self) -> None:
        """Score the next batch, if an earlier one did not have all that waited."""
        with self._lock:
            self._waiting = sorted(each for each in self._waiting if not each.scores.cancelled())
            ends = accumulate(len(each.chunk.starts) for each in self._waiting)
            n_chunks = max(1, sum(end <= CPU_BATCH_WINDOWS for end in ends))
            batch, self._waiting = self._waiting[:n_chunks], self._waiting[n_chunks:]
        torch.set_num_threads(max(1, self._n_jobs // max(1, self._n_under_way())))  # of this thread
        self._score([each for each in batch if each.scores.set_running_or_notify_cancel()])
        if next(self._n_batches) % BATCHES_PER_TRIM == 0:
            trim_heap()

    def _score(self, batch: Sequence[_Waiting]) -> None:
        """Score a batch, or chunk by chunk where that fails: one costs itself alone."""
        if not batch:
            return
        try:
            scores = self._scorer.score_chunks([each.chunk for each in batch])
        except Exception as error:
            if len(batch) == 1:
                batch[0].scores.set_exception(error)
                return
            for each in batch:
                self._score([each])
        else:
            for each, its_scores in zip(batch, scores, strict=True):
                each.scores.set_result(its_scores)
