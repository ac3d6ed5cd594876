"""Predictions for recordings as they are uploaded: each decoded in a sandbox, all scored by one run in turns."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch

from core.errors import UserError
from core.sandbox import Cancelled, SandboxLimits
from predict.decide.fitted_params import Thresholds, window_min_scores
from predict.inference.recordings import score_recording
from predict.inference.run_loader import TrainedRun
from predict.inference.score_cache import RecordingScores
from predict.output.detections import DetectionFilter, detect, has_duration
from serve.scoring_queue import ScoringQueue
from train.evaluate.window_scorer import WindowScores
from train.evaluate.windows import WindowChunk

ENDED = "the server is ending"
DECODERS_PER_CORE = 2
"""Recordings of which the first windows are decoded at a time: more are no faster, and each process takes memory."""
MAX_TURN_S = 5.0
"""How long a recording is one of them: one of which no window comes holds nobody up."""


@dataclass(frozen=True)
class WindowTable:
    """The windows of a recording, and for every label a score a window."""

    start_s: list[float]
    end_s: list[float]
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class LabelSpan:
    """Where a label lies in a recording, at its windows' highest score."""

    start_s: float
    end_s: float
    label: str
    score: float


@dataclass(frozen=True)
class TagResponse:
    """The prediction for one recording; scores are probabilities, times seconds of the recording."""

    clip: str
    duration_s: float
    labels: list[str]
    """Those decided on."""
    scores: dict[str, float]
    detections: list[LabelSpan]
    """Where labels lie: consecutive windows joined."""
    warning: str = ""
    """What of the recording could not be read."""
    windows: WindowTable | None = None


@dataclass(eq=False)
class InferenceService:
    """A run's networks. Leaving `with` cancels requests."""

    run: TrainedRun
    thresholds: Thresholds
    device: torch.device
    limits: SandboxLimits
    n_jobs: int
    max_duration_s: float
    max_pending: int

    def __post_init__(self) -> None:
        self._tagger = self.run.tagger()
        self._queue = ScoringQueue(self._tagger.scorer, self.n_jobs, lambda: len(self._pending), self.device)
        self._threads = ThreadPoolExecutor(self.max_pending, "recording", torch.set_num_threads, (1,))
        self._decoding = threading.Semaphore(DECODERS_PER_CORE * self.n_jobs)
        self._pending, self._ended = set[threading.Event](), False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for cancelled in self._pending:
            cancelled.set()
        self._threads.shutdown(cancel_futures=True)
        self._queue.close()

    async def tag(self, clip: str, path: Path) -> TagResponse:
        """The prediction for a recording, named `clip` in the response. Raises DecodeError; UserError at the end."""
        if self._ended:
            raise UserError(ENDED)
        cancelled = threading.Event()
        self._pending.add(cancelled)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._tag, clip, path, cancelled)
        except Cancelled:
            raise UserError(ENDED) from None
        finally:
            cancelled.set()
            self._pending.discard(cancelled)

    @contextmanager
    def _take_turn(self) -> Iterator[Callable[[], None]]:
        """Wait for a turn to be decoded; yield what ends it, as MAX_TURN_S and the end of `with` do."""
        self._decoding.acquire()
        ended = threading.Lock()

        def end_turn() -> None:
            if ended.acquire(blocking=False):
                self._decoding.release()

        timer = threading.Timer(MAX_TURN_S, end_turn)
        timer.start()
        try:
            yield end_turn
        finally:
            timer.cancel()
            end_turn()

    def _score(self, path: Path, cancelled: threading.Event) -> RecordingScores:
        """The windows of a recording, which is decoded when it is its turn."""
        with self._take_turn() as end_turn:
            if cancelled.is_set():
                raise Cancelled

            def score_chunk(chunk: WindowChunk, n_scored: int) -> WindowScores:
                end_turn()
                return self._queue.score(chunk, n_scored, cancelled)

            return score_recording(
                path,
                self._tagger.scorer,
                self.run.recipe.features,
                self.limits,
                self.device,
                max_duration_s=self.max_duration_s,
                score_chunk=score_chunk,
                cancelled=cancelled,
            )

    def _tag(self, clip: str, path: Path, cancelled: threading.Event) -> TagResponse:
        scores = self._score(path, cancelled)
        prediction = self._tagger.pool_clip(scores.windows, scores.start_s, scores.duration_s)
        labels, decided = self.run.labels, self.thresholds.decide(prediction.scores)
        filters = DetectionFilter(window_min_scores(self.thresholds, self.run.prediction), merge=True)
        shown = has_duration(prediction)
        detections = [one.rounded() for one in detect(prediction, labels, filters)]

        def by_label(values: np.ndarray) -> dict[str, Any]:
            return dict(zip(labels, np.round(values.astype(float), 6).tolist(), strict=True))

        return TagResponse(
            clip=clip,
            duration_s=round(scores.duration_s, 3),
            labels=[label for label, given in zip(labels, decided, strict=True) if given],
            scores=by_label(prediction.scores),
            detections=[LabelSpan(one.start_s, one.end_s, one.label, one.score) for one in detections],
            warning=scores.warning,
            windows=WindowTable(
                start_s=np.round(prediction.start_s[shown], 3).tolist(),
                end_s=np.round(prediction.end_s[shown], 3).tolist(),
                scores=by_label(prediction.windows[shown].T),
            ),
        )
