"""A run's networks that answer one recording after another, while other processes decode the next ones."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

import numpy as np
import torch

from core.errors import BadInput
from predict.decide.thresholds import Thresholds, lowest_of_windows
from predict.decoding.decoder_pool import GIVEN_UP, Hearing, Listener
from predict.inference.recordings import as_frames
from predict.inference.tagger import Answer, Run
from predict.output.detections import Detection, Filters, detect

DECODERS = 2
"""Processes: one decodes while the networks hear what another one has decoded."""


@dataclass(frozen=True)
class Windows:
    """What was heard in each window of a recording; a score a window for every label."""

    start_s: list[float]
    end_s: list[float]
    scores: dict[str, list[float]]


@dataclass(frozen=True)
class Tagged:
    """What a run says of one recording; scores are probabilities, times seconds of the recording."""

    clip: str
    duration_s: float
    labels: list[str]
    """Those decided on."""
    scores: dict[str, float]
    detections: list[Detection]
    """Where labels lie: consecutive windows joined."""
    windows: Windows | None = None


class Service:
    """Networks, and the processes that decode for them. Leaving `with` ends these, and what is being answered."""

    def __init__(self, run: Run, thresholds: Thresholds, device: torch.device, n_jobs: int, longest_s: float) -> None:
        self.run, self.thresholds, self.longest_s = run, thresholds, longest_s
        self._device, self._tagger = device, run.tagger()
        self._listener = Listener(run.recipe.features, min(n_jobs, DECODERS), longest_s=longest_s)
        # One recording at a time, with all cores: networks side by side would only wait for each other.
        self._networks = ThreadPoolExecutor(1, "networks", torch.set_num_threads, (n_jobs,))
        self._folder: TemporaryDirectory[str]

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory(prefix="earmark-")
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()
        self._networks.shutdown(cancel_futures=True)
        self._folder.cleanup()

    @property
    def folder(self) -> Path:
        """Where recordings may lie while they are heard; it goes with the service."""
        return Path(self._folder.name)

    async def tag(self, clip: str, path: Path) -> Tagged:
        """What the networks say of a recording, called `clip` in the answer.

        Raises DecodeError where it cannot be read or is too long, and BadInput where no process can be had.
        """
        hearing = self._listener.hear(str(path))
        try:
            await asyncio.wrap_future(hearing.begun)  # one whose decoder hangs keeps no other from the networks
            if hearing.unwanted.is_set():  # the service has ended
                raise BadInput(GIVEN_UP)
            return await asyncio.get_running_loop().run_in_executor(self._networks, self._tag, clip, hearing)
        finally:
            hearing.abandon()  # which does nothing to one that has been heard to its end

    def _tag(self, clip: str, hearing: Hearing) -> Tagged:
        heard = self._tagger.hear(as_frames(hearing, self.run.recipe.features, self._device))
        answer = self._tagger.answer(heard, hearing.end.start_s, hearing.end.duration_s)
        return self._in_words(clip, answer, hearing.end.duration_s)

    def _in_words(self, clip: str, answer: Answer, duration_s: float) -> Tagged:
        """An answer by the names of labels, and what is decided from it."""
        labels, decided = self.run.labels, self.thresholds.decide(answer.scores)
        filters = Filters(lowest_of_windows(self.thresholds, self.run.prediction), merge=True)
        columns = np.round(answer.windows.T.astype(float), 6).tolist()
        return Tagged(
            clip=clip,
            duration_s=round(duration_s, 3),
            labels=[label for label, given in zip(labels, decided, strict=True) if given],
            scores=dict(zip(labels, np.round(answer.scores.astype(float), 6).tolist(), strict=True)),
            detections=[one.rounded() for one in detect(answer, labels, filters)],
            windows=Windows(
                start_s=np.round(answer.start_s, 3).tolist(),
                end_s=np.round(answer.end_s, 3).tolist(),
                scores=dict(zip(labels, columns, strict=True)),
            ),
        )
