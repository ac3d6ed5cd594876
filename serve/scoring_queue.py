"""Windows of several recordings scored together: those of the recordings with the fewest windows scored first."""

import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate, count

import torch

from core.sandbox import CANCEL_POLL_S, Cancelled
from train.evaluate.forward import CPU_BATCH_WINDOWS
from train.evaluate.window_scorer import WindowScorer, WindowScores
from train.evaluate.windows import WindowChunk


@dataclass(order=True)
class _Waiting:
    """A chunk of a recording of which so many windows have been scored."""

    n_scored: int
    number: int
    chunk: WindowChunk = field(compare=False)
    scores: "Future[WindowScores]" = field(compare=False, default_factory=Future)


class ScoringQueue:
    """A thread that scores chunks of windows, short ones of several recordings in one batch."""

    def __init__(self, scorer: WindowScorer, n_threads: int) -> None:
        self._scorer, self._numbers = scorer, count()
        self._thread = ThreadPoolExecutor(1, "scoring", torch.set_num_threads, (n_threads,))
        self._lock, self._waiting = threading.Lock(), list[_Waiting]()

    def score(self, chunk: WindowChunk, n_scored: int, cancelled: threading.Event) -> WindowScores:
        """The scores of a chunk, once it is its turn. Raises Cancelled by the event."""
        waiting = _Waiting(n_scored, next(self._numbers), chunk)
        with self._lock:
            self._waiting.append(waiting)
        self._thread.submit(self._score_next)
        while True:
            try:
                return waiting.scores.result(CANCEL_POLL_S)
            except TimeoutError:
                if cancelled.is_set():
                    waiting.scores.cancel()
                    raise Cancelled from None

    def close(self) -> None:
        """Wait for the batch that is being scored."""
        self._thread.shutdown(cancel_futures=True)

    def _score_next(self) -> None:
        """Score the next batch, if an earlier one did not have all that waited."""
        with self._lock:
            self._waiting = sorted(each for each in self._waiting if not each.scores.cancelled())
            ends = accumulate(len(each.chunk.starts) for each in self._waiting)
            n_chunks = max(1, sum(end <= CPU_BATCH_WINDOWS for end in ends))
            batch, self._waiting = self._waiting[:n_chunks], self._waiting[n_chunks:]
        self._score([each for each in batch if each.scores.set_running_or_notify_cancel()])

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
