"""The frames of a recording in blocks, as a store would hold them: what prediction reads of files, in a sandbox."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from preprocess.audio.clip_audio import ClipAudio
from preprocess.frames import Transform, build_transform
from preprocess.frames.framing import Frames
from preprocess.store.encoding import encoding_for, quantise
from preprocess.store.schema import EncodedFrames
from recipe import Features

BLOCK_VALUES = 1 << 18
"""Values of a block: 30 s of 64 frames a second and 128 bins."""
MAX_BUFFERED_BYTES = 1 << 24
"""Of frames that wait until a recording's highest value is known: 8 min of 64 frames a second and 128 bins."""


@dataclass(frozen=True)
class RecordingEnd:
    """Where in a recording its frames began, and how long it is."""

    start_s: float
    """Below zero where silence was put before it."""
    duration_s: float


def stream_frames(
    path: str, features: Features, max_duration_s: float = math.inf
) -> Iterator[EncodedFrames | RecordingEnd]:
    """Yield blocks of frames [n_frames, n_bins], and at the end where they lie.

    Raises DecodeError, also for a recording that is longer than `max_duration_s`.
    """
    encoding, transform = encoding_for(features), get_transform(features)
    clip_audio = ClipAudio(path, features, max_duration_s)
    frames = transform(clip_audio)
    if features.top_db is not None:
        frames = _apply_top_db(lambda: transform(clip_audio), features.top_db)
    for block in _group_blocks(frames):
        yield quantise(block, encoding)
    yield RecordingEnd(clip_audio.start_s, clip_audio.duration_s)


_last_transform: list[tuple[Features, Transform]] = []


def get_transform(features: Features) -> Transform:
    """The transform of these features, made once a process."""
    if not _last_transform or _last_transform[0][0] != features:
        _last_transform[:] = [(features, build_transform(features))]
    return _last_transform[0][1]


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
    """The same frames in blocks of about BLOCK_VALUES values."""
    waiting: list[Frames] = []
    for block in blocks:
        waiting.append(block)
        if sum(each.size for each in waiting) >= BLOCK_VALUES:
            yield np.concatenate(waiting)
            waiting.clear()
    if waiting:
        yield np.concatenate(waiting)
