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

from core.device import one_thread
from predict.inference.tagger import Heard, Tagger
from predict.inference.windowing import Span
from preprocess.audio.blocks import DecodeError

MOST_THREADS = 16
"""Beyond so many cores, each thread takes several."""
BATCH_WINDOWS = {"cpu": 32, "cuda": 256}
"""A batch has at least so many windows, by the type of device."""

Key = TypeVar("Key")
End = DecodeError | None
"""How a clip ended: it cannot be read, or all of it has been heard."""


@dataclass(frozen=True)
class Sound(Generic[Key]):
    """A clip to be heard: what it is called, its frames in blocks [n, n_bins], and how many of its spans are known."""

    key: Key
    blocks: Iterable[Tensor]
    skip: int = 0


def hear_all(
    tagger: Tagger, sounds: Iterable[Sound[Key]], device: torch.device, n_jobs: int
) -> Iterator[tuple[Key, Heard | End]]:
    """The windows of clips, some at a time, and behind those of each clip how it ended; clips in order.

    Blocks may raise DecodeError. `n_jobs` is the number of cores the networks may keep busy.
    """
    n_threads = min(n_jobs, MOST_THREADS) if device.type == "cpu" else 1
    waiting: deque[Future[list[tuple[Key, Heard | End]]]] = deque()
    pool = ThreadPoolExecutor(n_threads, initializer=torch.set_num_threads, initargs=(n_jobs // n_threads,))
    with one_thread(), pool as threads:
        for batch in _batches(tagger, sounds, BATCH_WINDOWS[device.type]):
            waiting.append(threads.submit(_score, tagger, batch))
            while len(waiting) > n_threads or (waiting and waiting[0].done()):
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def collect(heard: Iterable[tuple[Key, Heard | End]]) -> Iterator[tuple[Key, list[Heard]]]:
    """All windows of each clip, once it has ended. Raises the DecodeError of a clip that cannot be read."""
    parts: list[Heard] = []
    for key, part in heard:
        match part:
            case Heard():
                parts.append(part)
            case None:
                yield key, parts
                parts = []
            case error:
                raise error


def _batches(tagger: Tagger, sounds: Iterable[Sound[Key]], n_windows: int) -> Iterator[list[tuple[Key, Span | End]]]:
    """Spans of clips, in order, as many as have `n_windows` together, and the ends of clips behind their spans."""
    batch: list[tuple[Key, Span | End]] = []
    count = 0
    for sound in sounds:
        try:
            for span in tagger.spans(sound.blocks, sound.skip):
                batch.append((sound.key, span))
                count += len(span.starts)
                if count >= n_windows:
                    yield batch
                    batch, count = [], 0
            batch.append((sound.key, None))
        except DecodeError as error:
            batch.append((sound.key, error))
    if batch:
        yield batch


def _score(tagger: Tagger, batch: list[tuple[Key, Span | End]]) -> list[tuple[Key, Heard | End]]:
    """A batch with the scores of its spans in their places."""
    heard = iter(tagger.score([part for _, part in batch if isinstance(part, Span)]))
    return [(key, next(heard) if isinstance(part, Span) else part) for key, part in batch]
