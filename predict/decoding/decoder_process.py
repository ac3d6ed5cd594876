"""SCRIPT  a process that turns recordings into frames for `decoder_pool`; one that kills it costs no other."""

import math
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection

import numpy as np

from predict.decoding.messages import DecoderMessage, DecoderReady, DecodingFailed, DecodingFinished
from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import ClipAudio
from preprocess.frames.framing import Frames, Samples
from preprocess.frames.kinds import Transform, build_transform
from preprocess.store.encoding import encoding_for, quantise
from recipe import Features

BLOCK_BYTES = 1 << 19
"""Of frames sent at once: 30 s of 64 frames a second and 128 bins."""
MAX_BUFFERED_BYTES = 1 << 24
"""Of frames that wait until a recording's highest value is known: 8 min of 64 frames a second and 128 bins."""
SILENT_S = 30
"""A decoder that gives no block for so long has hung."""


def kill_if_stalled(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Pass blocks on; the process dies of SIGALRM where the next one takes SILENT_S, even in C code."""
    iterator = iter(blocks)
    while True:
        signal.setitimer(signal.ITIMER_REAL, SILENT_S)
        try:
            block = next(iterator, None)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        if block is None:
            return
        yield block


class WatchedClipAudio(ClipAudio):
    """Sound whose decoder may not hang."""

    def _count_samples(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        return super()._count_samples(kill_if_stalled(blocks))


def decode_to_frames(
    path: str, features: Features, transform: Transform, max_duration_s: float = math.inf
) -> Iterator[DecoderMessage]:
    """The frames of a recording in blocks, as a store would hold them, and then its end; or why there are none.

    One that is longer than `max_duration_s` is not heard to its end.
    """
    encoding = encoding_for(features)
    try:
        clip_audio = WatchedClipAudio(path, features, max_duration_s)
        frames = transform(clip_audio)
        if features.top_db is not None:
            frames = _apply_top_db(lambda: transform(clip_audio), features.top_db)
        for block in _group_blocks(frames):
            yield quantise(block, encoding)
        yield DecodingFinished(clip_audio.start_s, clip_audio.duration_s)
    except DecodeError as error:
        yield DecodingFailed(error.reason)
    except Exception as error:  # one recording's trouble is never another's
        yield DecodingFailed(f"{type(error).__name__}: {error}")


def _apply_top_db(make: Callable[[], Iterator[Frames]], top_db: float) -> Iterator[Frames]:
    """Frames with values raised to `top_db` below their highest; many are made twice, and never all in memory."""
    kept: list[Frames] = []
    n_bytes, highest = 0, -np.inf
    for block in make():
        highest = max(highest, float(block.max(initial=-np.inf)))
        n_bytes += block.nbytes
        if n_bytes > MAX_BUFFERED_BYTES:
            kept.clear()
        else:
            kept.append(block)
    floor = np.float32(highest - top_db)
    for block in kept if n_bytes <= MAX_BUFFERED_BYTES else make():
        yield np.maximum(block, floor)


def _group_blocks(blocks: Iterator[Frames]) -> Iterator[Frames]:
    """The same frames in blocks of about BLOCK_BYTES as float16."""
    waiting: list[Frames] = []
    for block in blocks:
        waiting.append(block)
        if sum(each.size for each in waiting) * 2 >= BLOCK_BYTES:
            yield np.concatenate(waiting)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting)


def main() -> None:
    """Serve paths from the connection whose file descriptor is the only argument, until it is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(int(sys.argv[1]))
    features: Features
    features, max_duration_s = connection.recv()
    transform = build_transform(features)
    connection.send(DecoderReady())
    while True:
        try:
            path = connection.recv()
        except EOFError:
            return
        for message in decode_to_frames(path, features, transform, max_duration_s):
            connection.send(message)


if __name__ == "__main__":
    main()
