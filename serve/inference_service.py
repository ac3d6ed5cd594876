"""Predictions for recordings as they are uploaded: each decoded in a sandbox, all scored by one run in turns."""

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import torch

from core.errors import UserError
from core.sandbox import CANCEL_POLL_S, Cancelled, SandboxLimits
from predict.decide.thresholds import Thresholds, window_min_scores
from predict.inference.recordings import score_recording
from predict.inference.run_loader import TrainedRun
from predict.inference.tagger import ClipPrediction
from predict.output.detections import Detection, DetectionFilter, detect

ENDED = "the server is ending"


@dataclass(frozen=True)
class WindowTable:
    """The windows of a recording, and for every label a score a window."""

    start_s: list[float]
    end_s: list[float]
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class TagResponse:
    """The prediction for one recording; scores are probabilities, times seconds of the recording."""

    clip: str
    duration_s: float
    labels: list[str]
    """Those decided on."""
    scores: dict[str, float]
    detections: list[Detection]
    """Where labels lie: consecutive windows joined."""
    windows: WindowTable | None = None


class ScoringTurns:
    """Lets one recording at a time score a chunk of its windows: the one of which the fewest have been scored."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: list[tuple[int, int]] = []
        self._numbers, self._scoring = count(), False

    @contextmanager
    def take(self, n_scored: int, cancelled: threading.Event) -> Iterator[None]:
        """Wait for one's turn, with so many windows scored. Raises Cancelled by the event."""
        ticket = (n_scored, next(self._numbers))
        with self._changed:
            self._waiting.append(ticket)
            try:
                while not self._changed.wait_for(lambda: self._is_next(ticket), CANCEL_POLL_S):
                    if cancelled.is_set():
                        raise Cancelled
            finally:
                self._waiting.remove(ticket)
            self._scoring = True
        try:
            yield
        finally:
            with self._changed:
                self._scoring = False
                self._changed.notify_all()

    def _is_next(self, ticket: tuple[int, int]) -> bool:
        return not self._scoring and min(self._waiting) == ticket


class InferenceService:
    """A run's networks, and a folder for uploads. Leaving `with` ends what is under way, and removes the folder."""

    def __init__(
        self,
        run: TrainedRun,
        thresholds: Thresholds,
        device: torch.device,
        limits: SandboxLimits,
        *,
        n_jobs: int,
        max_duration_s: float,
        max_pending: int,
    ) -> None:
        self.run, self.thresholds, self.max_duration_s = run, thresholds, max_duration_s
        self._device, self._limits, self._tagger, self._turns = device, limits, run.tagger(), ScoringTurns()
        self._threads = ThreadPoolExecutor(max_pending, "recording", torch.set_num_threads, (n_jobs,))
        self._pending: set[threading.Event] = set()
        self._folder: TemporaryDirectory[str]

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="earmark-")
        return self

    def __exit__(self, *_: object) -> None:
        for cancelled in self._pending:
            cancelled.set()
        self._threads.shutdown(cancel_futures=True)
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Where uploads lie while they are scored; it goes with the service."""
        return Path(self._folder.name)

    async def tag(self, clip: str, path: Path) -> TagResponse:
        """The prediction for a recording, named `clip` in the response.

        Raises DecodeError where it cannot be read or is too long, and UserError where the service has ended.
        """
        cancelled = threading.Event()
        self._pending.add(cancelled)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, self._tag, clip, path, cancelled)
        except (Cancelled, RuntimeError) as error:
            if isinstance(error, RuntimeError) and not self._threads._shutdown:
                raise
            raise UserError(ENDED) from None
        finally:
            cancelled.set()
            self._pending.discard(cancelled)

    def _tag(self, clip: str, path: Path, cancelled: threading.Event) -> TagResponse:
        scores = score_recording(
            path,
            self._tagger.scorer,
            self.run.recipe.features,
            self._limits,
            self._device,
            max_duration_s=self.max_duration_s,
            turn=partial(self._turns.take, cancelled=cancelled),
            cancelled=cancelled,
        )
        prediction = self._tagger.pool_clip(scores.windows, scores.start_s, scores.duration_s)
        return self._to_response(clip, prediction, scores.duration_s)

    def _to_response(self, clip: str, clip_prediction: ClipPrediction, duration_s: float) -> TagResponse:
        """A prediction by the names of labels, and what is decided from it."""
        labels, decided = self.run.labels, self.thresholds.decide(clip_prediction.scores)
        filters = DetectionFilter(window_min_scores(self.thresholds, self.run.prediction), merge=True)
        columns = np.round(clip_prediction.windows.T.astype(float), 6).tolist()
        return TagResponse(
            clip=clip,
            duration_s=round(duration_s, 3),
            labels=[label for label, given in zip(labels, decided, strict=True) if given],
            scores=dict(zip(labels, np.round(clip_prediction.scores.astype(float), 6).tolist(), strict=True)),
            detections=[one.rounded() for one in detect(clip_prediction, labels, filters)],
            windows=WindowTable(
                start_s=np.round(clip_prediction.start_s, 3).tolist(),
                end_s=np.round(clip_prediction.end_s, 3).tolist(),
                scores=dict(zip(labels, columns, strict=True)),
            ),
        )
