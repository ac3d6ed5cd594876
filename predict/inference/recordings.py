"""Recordings of no dataset: decoded in sandboxes and scored as their frames arrive."""

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path

import torch
from torch import Tensor

from core.parallel import run_parallel
from core.progress import progress_bar
from core.sandbox import Cancelled, SandboxLimits
from predict.inference.dataset_clips import dequantise
from predict.inference.input_files import InputFile
from predict.inference.score_cache import CachedRecording, RecordingScores, ScoreCache
from predict.inference.tagger import ClipPrediction, Tagger
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import ErrorTally, read_isolated
from preprocess.build.frame_stream import RecordingEnd, stream_frames
from preprocess.store.encoding import encoding_for
from recipe import Features
from train.evaluate.window_scorer import WindowScorer, WindowScores, join_windows

CHANGED_REASON = "it changed while it was read: run the same command again"

Turn = Callable[[int], AbstractContextManager[object]]
"""What to enter before a chunk of windows is scored, given how many windows of the recording have been."""


def score_recording(
    path: Path,
    scorer: WindowScorer,
    features: Features,
    limits: SandboxLimits,
    device: torch.device,
    *,
    max_duration_s: float = math.inf,
    turn: Turn = lambda _: nullcontext(),
    cancelled: threading.Event | None = None,
) -> RecordingScores:
    """The windows of a recording, scored as a sandbox decodes it. Raises DecodeError, and Cancelled by the event."""
    encoding, end = encoding_for(features), RecordingEnd(0.0, 0.0)

    def blocks() -> Iterator[Tensor]:
        nonlocal end
        arguments = (str(path.absolute()), features, max_duration_s)  # a sandbox is in a folder of its own
        for item in read_isolated(stream_frames, *arguments, limits=limits, cancelled=cancelled):
            if isinstance(item, RecordingEnd):
                end = item
            else:
                yield dequantise(item, encoding.scale, encoding.offset, device)

    parts: list[WindowScores] = []
    for chunk in scorer.iter_chunks(blocks()):
        with turn(sum(len(part.scores) for part in parts)):
            if cancelled and cancelled.is_set():
                raise Cancelled
            parts += scorer.score_chunks([chunk])
    return RecordingScores(join_windows(parts), end.start_s, end.duration_s)


def predict_files(
    recordings: Sequence[InputFile],
    tagger: Tagger,
    features: Features,
    score_cache: ScoreCache,
    limits: SandboxLimits,
    device: torch.device,
    n_jobs: int,
) -> tuple[dict[str, ClipPrediction], list[tuple[str, str]]]:
    """The prediction for each recording, and (clip, reason) of those that cannot be read.

    Recordings whose scores are in the cache are not decoded again; those of the others are added to it.
    """
    cached = {each.clip: score_cache.lookup(each.path) for each in recordings}
    done: dict[Path, RecordingScores | DecodeError] = {}
    tally = ErrorTally()
    for entry in cached.values():
        if scores := entry.load():
            done[entry.path] = scores
            tally.add(None)
    missing = list({entry.path: entry for entry in cached.values() if entry.path not in done}.values())
    n_parallel = max(1, min(n_jobs, len(missing)))
    turn = threading.Lock() if device.type == "cuda" else nullcontext()  # a GPU's memory may have room for but one

    def score(entry: CachedRecording) -> tuple[CachedRecording, RecordingScores | DecodeError]:
        torch.set_num_threads(max(1, n_jobs // n_parallel))  # of this thread
        try:
            scores = score_recording(entry.recording, tagger.scorer, features, limits, device, turn=lambda _: turn)
        except DecodeError as error:
            return entry, error
        return entry, scores if entry.save(scores) else DecodeError(entry.recording, CHANGED_REASON)

    with (
        progress_bar(len(cached), "predict", "clip") as progress,
        closing(run_parallel(score, missing, n_parallel)) as results,
    ):
        progress.update(len(cached) - len(missing))
        for entry, result in results:
            done[entry.path] = result
            tally.add(result if isinstance(result, DecodeError) else None)
            progress.update()
    predictions, failed = dict[str, ClipPrediction](), list[tuple[str, str]]()
    for clip, entry in cached.items():
        match done[entry.path]:
            case DecodeError() as error:
                failed.append((clip, error.reason))
            case scores:
                predictions[clip] = tagger.pool_clip(scores.windows, scores.start_s, scores.duration_s)
    return predictions, failed
