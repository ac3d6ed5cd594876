"""Many clips at once: neighbouring clips share a batch, and batches are scored in threads while the next ones arrive.

A thread scores a batch by itself. Threads that share one batch wait for each other, and beside processes that decode on
the same cores they wait long. The thread that passes on what arrives shares nothing either: OpenMP's threads, spinning
until its next block, took a third of this process's time.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

import torch
from torch import Tensor

from core.device import limit_to_one_thread
from predict.inference.tagger import Tagger, WindowScores
from predict.inference.windowing import WindowChunk
from preprocess.audio.blocks import DecodeError

MAX_THREADS = 16
"""Beyond so many cores, each thread takes several."""
MIN_BATCH_WINDOWS = {"cpu": 32, "cuda": 256}
"""A batch has at least so many windows, by the type of device."""

Key = TypeVar("Key")
ClipEnd = DecodeError | None
"""How a clip ended: it cannot be read, or all of it has been heard."""


@dataclass(frozen=True)
class FrameStream(Generic[Key]):
    """A clip to be heard: what it is called, its frames in blocks [n, n_bins], and how many of its spans are known."""

    key: Key
    blocks: Iterable[Tensor]
    skip: int = 0


def score_in_batches(
    tagger: Tagger, streams: Iterable[FrameStream[Key]], device: torch.device, n_jobs: int
) -> Iterator[tuple[Key, WindowScores | ClipEnd]]:
    """The windows of clips, some at a time, and behind those of each clip how it ended; clips in order.

    Blocks may raise DecodeError. `n_jobs` is the number of cores the networks may keep busy.
    """
    n_threads = min(n_jobs, MAX_THREADS) if device.type == "cpu" else 1
    waiting: deque[Future[list[tuple[Key, WindowScores | ClipEnd]]]] = deque()
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(n_jobs // n_threads,))
    with limit_to_one_thread(), pool as threads:
        for batch in _batches(tagger, streams, MIN_BATCH_WINDOWS[device.type]):
            waiting.append(threads.submit(_score_batch, tagger, batch))
            while len(waiting) > n_threads or (waiting and waiting[0].done()):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def group_by_clip(
    window_scores: Iterable[tuple[Key, WindowScores | ClipEnd]],
) -> Iterator[tuple[Key, list[WindowScores]]]:
    """All windows of each clip, once it has ended. Raises the DecodeError of a clip that cannot be read."""
    parts: list[WindowScores] = []
    for key, part in window_scores:
        match part:
            case WindowScores():
                parts.append(part)
            case None:
                yield key, parts
                parts = []
            case error:
                raise error


def _batches(
    tagger: Tagger, streams: Iterable[FrameStream[Key]], n_windows: int
) -> Iterator[list[tuple[Key, WindowChunk | ClipEnd]]]:
    """Spans of clips, in order, as many as have `n_windows` together, and the ends of clips behind their spans."""
    batch: list[tuple[Key, WindowChunk | ClipEnd]] = []
    count = 0
    for stream in streams:
        try:
            for chunk in tagger.iter_chunks(stream.blocks, stream.skip):
                batch.append((stream.key, chunk))
                count += len(chunk.starts)
                if count >= n_windows:
                    yield batch
                    batch, count = [], 0
            batch.append((stream.key, None))
        except DecodeError as error:
            batch.append((stream.key, error))
    if batch:
        yield batch


def _score_batch(
    tagger: Tagger, batch: list[tuple[Key, WindowChunk | ClipEnd]]
) -> list[tuple[Key, WindowScores | ClipEnd]]:
    """A batch with the scores of its spans in their places."""
    window_scores = iter(tagger.score_chunks([part for _, part in batch if isinstance(part, WindowChunk)]))
    return [(key, next(window_scores) if isinstance(part, WindowChunk) else part) for key, part in batch]
