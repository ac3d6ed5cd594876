"""A run's networks that answer one recording after another, while other processes decode the next ones."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import torch

from core.errors import UserError
from predict.decide.thresholds import Thresholds, window_min_scores
from predict.decoding.decoder_pool import CANCELLED, DecoderPool, DecodingJob
from predict.inference.recordings import dequantise_blocks
from predict.inference.tagger import ClipPrediction, TrainedRun
from predict.output.detections import Detection, DetectionFilter, detect

N_DECODERS = 2
"""Processes: one decodes while the networks hear what another one has decoded."""


@dataclass(frozen=True)
class WindowTable:
    """What was heard in each window of a recording; a score a window for every label."""

    start_s: list[float]
    end_s: list[float]
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class TagResponse:
    """What a run says of one recording; scores are probabilities, times seconds of the recording."""

    clip: str
    duration_s: float
    labels: list[str]
    """Those decided on."""
    scores: dict[str, float]
    detections: list[Detection]
    """Where labels lie: consecutive windows joined."""
    windows: WindowTable | None = None


class InferenceService:
    """Networks, and the processes that decode for them. Leaving `with` ends these, and what is being answered."""

    def __init__(
        self, run: TrainedRun, thresholds: Thresholds, device: torch.device, n_jobs: int, max_duration_s: float
    ) -> None:
        self.run, self.thresholds, self.max_duration_s = run, thresholds, max_duration_s
        self._device, self._tagger = device, run.tagger()
        self._decoders = DecoderPool(run.recipe.features, min(n_jobs, N_DECODERS), max_duration_s=max_duration_s)
        # One recording at a time, with all cores: networks side by side would only wait for each other.
        self._networks = ThreadPoolExecutor(1, "networks", torch.set_num_threads, (n_jobs,))
        self._folder: TemporaryDirectory[str]

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="earmark-")
        return self

    def __exit__(self, *_: object) -> None:
        self._decoders.close()
        self._networks.shutdown(cancel_futures=True)
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Where recordings may lie while they are heard; it goes with the service."""
        return Path(self._folder.name)

    async def tag(self, clip: str, path: Path) -> TagResponse:
        """What the networks say of a recording, called `clip` in the answer.

        Raises DecodeError where it cannot be read or is too long, and UserError where no process can be had.
        """
        job = self._decoders.submit(str(path))
        try:
            await asyncio.wrap_future(job.started)  # one whose decoder hangs keeps no other from the networks
            if job.cancelled.is_set():  # the service has ended
                raise UserError(CANCELLED)
            return await asyncio.get_running_loop().run_in_executor(self._networks, self._tag, clip, job)
        finally:
            job.cancel()  # which does nothing to one that has been heard to its end

    def _tag(self, clip: str, job: DecodingJob) -> TagResponse:
        window_scores = self._tagger.score_blocks(dequantise_blocks(job, self.run.recipe.features, self._device))
        clip_prediction = self._tagger.pool_clip(window_scores, job.end.start_s, job.end.duration_s)
        return self._to_response(clip, clip_prediction, job.end.duration_s)

    def _to_response(self, clip: str, clip_prediction: ClipPrediction, duration_s: float) -> TagResponse:
        """An answer by the names of labels, and what is decided from it."""
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
