"""What the process that scores recordings and the processes that hear them say to each other."""

from dataclasses import dataclass

from preprocess.store.schema import EncodedFrames


@dataclass(frozen=True)
class DecoderReady:
    """A process that hears has started."""


@dataclass(frozen=True)
class DecodingFinished:
    """A recording has been heard: where in it the frames began, and how long it is."""

    start_s: float
    """Below zero where silence was put before it."""
    duration_s: float


@dataclass(frozen=True)
class DecodingFailed:
    """A recording cannot be read."""

    reason: str


DecoderMessage = EncodedFrames | DecodingFinished | DecodingFailed
"""Of a recording: blocks of frames [n_frames, n_bins] as stored, and then one of the others."""
