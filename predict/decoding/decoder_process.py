"""SCRIPT  a process that turns recordings into frames for `decoder_pool`; one that kills it costs no other."""

import math
import signal
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection

import numpy as np

from predict.decoding.messages import End, Failed, Message, Ready
from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import Recording
from preprocess.audio.watchdog import watched
from preprocess.frames.framing import Frames
from preprocess.frames.kinds import Transform, build_transform
from preprocess.store.encoding import coding_of, encode
from recipe import Features

BLOCK_BYTES = 1 << 19
"""Of frames sent at once: 30 s of 64 frames a second and 128 bins."""
KEPT_BYTES = 1 << 24
"""Of frames that wait until a recording's highest value is known: 8 min of 64 frames a second and 128 bins."""


def hear(path: str, features: Features, transform: Transform, longest_s: float = math.inf) -> Iterator[Message]:
    """The frames of a recording in blocks, as a store would hold them, and then its end; or why there are none.

    One that is longer than `longest_s` is not heard to its end.
    """
    coding = coding_of(features)
    try:
        recording = Recording(path, features, watched, longest_s)
        frames = transform(recording)
        if features.top_db is not None:
            frames = _raised(lambda: transform(recording), features.top_db)
        for block in _gathered(frames):
            yield encode(block, coding)
        yield End(recording.start_s, recording.duration_s)
    except DecodeError as error:
        yield Failed(error.reason)
    except Exception as error:  # one recording's trouble is never another's
        yield Failed(f"{type(error).__name__}: {error}")


def _raised(make: Callable[[], Iterator[Frames]], top_db: float) -> Iterator[Frames]:
    """Frames with values raised to `top_db` below their highest; many are made twice, and never all in memory."""
    kept: list[Frames] = []
    n_bytes, highest = 0, -np.inf
    for block in make():
        highest = max(highest, float(block.max(initial=-np.inf)))
        n_bytes += block.nbytes
        if n_bytes > KEPT_BYTES:
            kept.clear()
        else:
            kept.append(block)
    floor = np.float32(highest - top_db)
    for block in kept if n_bytes <= KEPT_BYTES else make():
        yield np.maximum(block, floor)


def _gathered(blocks: Iterator[Frames]) -> Iterator[Frames]:
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
    features, longest_s = connection.recv()
    transform = build_transform(features)
    connection.send(Ready())
    while True:
        try:
            path = connection.recv()
        except EOFError:
            return
        for message in hear(path, features, transform, longest_s):
            connection.send(message)


if __name__ == "__main__":
    main()
