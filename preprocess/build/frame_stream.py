"""The frames of a recording in blocks, as a store would hold them: what prediction reads of files, in a sandbox."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from preprocess.audio.blocks import BLOCK_VALUES, merge_blocks
from preprocess.audio.clip_audio import ClipAudio
from preprocess.frames import get_transform
from preprocess.store.encoding import encoding_for, quantise
from preprocess.store.schema import EncodedFrames
from recipe import Features


@dataclass(frozen=True)
class RecordingEnd:
    """Where in a recording its frames begin, and how long it is."""

    start_s: float
    """Below zero where silence was put before it."""
    duration_s: float
    warning: str = ""
    """What of it could not be read."""


def stream_frames(
    path: str, features: Features, max_duration_s: float = math.inf
) -> Iterator[EncodedFrames | RecordingEnd]:
    """Yield blocks of frames [n_frames, n_bins], and at the end where they lie.

    Raises DecodeError, also for a recording that is longer than `max_duration_s`.
    """
    encoding, transform = encoding_for(features), get_transform(features)
    clip_audio = ClipAudio(path, features, max_duration_s)
    for block in merge_blocks(transform(clip_audio), BLOCK_VALUES):
        yield quantise(block, encoding)
    yield RecordingEnd(clip_audio.start_s, clip_audio.duration_s, "; ".join(clip_audio.warnings))
