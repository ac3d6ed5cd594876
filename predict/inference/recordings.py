"""Recordings of no dataset, answered as they are heard: decoding, features and networks at once."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from core.entrypoint import log_warning
from predict.decoding.decoder_pool import DecoderPool, DecodingJob
from predict.inference.batching import FrameStream, score_in_batches
from predict.inference.dataset_clips import dequantise
from predict.inference.input_files import InputFile
from predict.inference.score_cache import CachedRecording, ScoreCache
from predict.inference.tagger import ClipPrediction, Tagger, WindowScores
from preprocess.store.encoding import encoding_for
from preprocess.store.schema import EncodedFrames
from recipe import Features, Prediction

PROGRESS_INTERVAL_S = 10.0
"""Seconds between lines where there is no terminal."""
CHANGED_REASON = "it changed while it was heard: run the same command again"


def predict_files(
    recordings: Sequence[InputFile],
    tagger: Tagger,
    features: Features,
    score_cache: ScoreCache,
    device: torch.device,
    n_jobs: int,
) -> tuple[dict[str, ClipPrediction], list[tuple[str, str]]]:
    """The answer for each recording, and (clip, reason) of those that cannot be read.

    What the journal has is not heard again, and it is kept up to date, so that an interrupted run can go on.
    """
    # Taken before any is decoded: what changes from here on is noticed when it ends.
    cached_recordings = {each.clip: score_cache.lookup(each.path) for each in recordings}
    # A link and its target share a page: heard once.
    names = {cached.path: clip for clip, cached in cached_recordings.items()}
    unique_entries = {cached.path: cached for cached in cached_recordings.values()}
    finished = {path: cached.load_finished() for path, cached in unique_entries.items()}
    missing = [cached for path, cached in unique_entries.items() if finished[path] is None]
    reasons: dict[Path, str] = {}
    with (
        DecoderPool(features, n_jobs) as pool,
        _Progress(len(unique_entries), len(unique_entries) - len(missing)) as progress,
    ):
        jobs = zip(missing, pool.decode_in_order([str(each.recording) for each in missing]), strict=True)
        streams = (_make_stream(cached, job, features, device) for cached, job in jobs)
        for (cached, job), window_scores in score_in_batches(tagger, streams, device, n_jobs):
            match window_scores:
                case WindowScores():
                    cached.add(window_scores)
                    progress.update_position(
                        names[cached.path], window_scores.start_frames[-1] / tagger.frames_per_second
                    )
                case None:
                    finished[cached.path] = cached.finish(job.end)
                    if finished[cached.path] is None:
                        reasons[cached.path] = CHANGED_REASON
                    progress.advance(len(reasons))
                case error:
                    reasons[cached.path] = error.reason
                    progress.advance(len(reasons))
    recording_scores = {clip: finished[cached.path] for clip, cached in cached_recordings.items()}
    clip_predictions = {
        clip: tagger.pool_clip(scores.window_scores, scores.start_s, scores.duration_s)
        for clip, scores in recording_scores.items()
        if scores
    }
    return clip_predictions, [
        (clip, reasons[cached.path]) for clip, cached in cached_recordings.items() if cached.path in reasons
    ]


def warn_if_no_augmented(prediction: Prediction) -> None:
    """Say which of the keys asks for what recordings of no dataset do not have."""
    if prediction.view_offline_augment:
        log_warning("prediction.view_offline_augment is for clips of a dataset: recordings are heard without copies")


def _make_stream(
    cached: CachedRecording, job: DecodingJob, features: Features, device: torch.device
) -> FrameStream[tuple[CachedRecording, DecodingJob]]:
    """A recording as it is heard, from where the journal ends."""
    return FrameStream((cached, job), dequantise_blocks(job, features, device), len(cached.load_partial()))


def dequantise_blocks(blocks: Iterable[EncodedFrames], features: Features, device: torch.device) -> Iterator[Tensor]:
    """Stored blocks [n_frames, n_bins] as float32 on the device, in the features' unit."""
    encoding = encoding_for(features)
    for block in blocks:
        yield dequantise(block, encoding.scale, encoding.offset, device)


class _Progress:
    """Recordings, and how far into a long one: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, n_recordings: int, n_done: int) -> None:
        self.bar = tqdm(total=n_recordings, initial=n_done, desc="predict", unit="clip", disable=None)
        self.n_recordings, self.n_done, self.n_failed = n_recordings, n_done, 0
        self.printed_at_s = time.monotonic()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def update_position(self, clip: str, position_s: float) -> None:
        """So much of a recording has been heard."""
        where = f"{clip} at {position_s / 60:.0f} min, {self.n_failed} failed"
        self.bar.set_postfix_str(where, refresh=False)
        self.bar.update(0)
        if self.bar.disable and time.monotonic() - self.printed_at_s >= PROGRESS_INTERVAL_S:
            self.printed_at_s = time.monotonic()
            print(f"{self.n_done} of {self.n_recordings} recordings, {where}", file=sys.stderr, flush=True)

    def advance(self, n_failed: int) -> None:
        """One more recording is done with, and so many cannot be read."""
        self.n_failed = n_failed
        self.n_done += 1
        self.bar.update()
