"""What only PyAV reads: a file's blocks of mono float32, and what its header states. Importing it takes 0.1 s."""

from collections.abc import Iterator
from io import FileIO
from typing import Any

import av
import numpy as np

from preprocess.audio.blocks import Block, Refused
from preprocess.frames.framing import Samples


def av_header(path: str) -> tuple[int, int, str] | None:
    """Rate in Hz, number of channels, and format, as the file states them; None where PyAV cannot read it either."""
    try:
        with _opened(path, "file") as container:
            if not container.streams.audio:
                return None
            context = container.streams.audio[0].codec_context
            return context.sample_rate, context.channels, f"{container.format.name} {context.name}"
    except (av.FFmpegError, OSError, ValueError):
        return None


def av_blocks(file: FileIO, refusal: str) -> Iterator[Block]:
    """Small blocks of the first audio stream. Raises Refused; `refusal` is what soundfile had against the file."""
    try:
        container = _opened(file, "none")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise Refused(f"neither soundfile nor PyAV can read it ({refusal})") from error
    with container:
        if not container.streams.audio:
            raise Refused("there is no sound in it")
        yield from _frame_blocks(container)


def _opened(source: str | FileIO, protocol: str) -> Any:
    """A container that fetches by no other protocol: a playlist named .wav must not fetch what it lists."""
    return av.open(source, metadata_errors="replace", options={"protocol_whitelist": protocol})


def _frame_blocks(container: Any) -> Iterator[Block]:
    """A block a frame. A damaged packet at either end is skipped, as players do; one in the middle is refused."""
    stream = container.streams.audio[0]
    stream.codec_context.thread_count = 1
    sounded = damaged = False
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged = sounded
                continue
            if frames and damaged and packet.size:  # the packet of size 0 only empties the decoder
                raise Refused("damaged in the middle")
            for frame in frames:
                sounded = True
                yield frame.sample_rate, _mono(frame)
    except (av.FFmpegError, OSError):
        return  # the container breaks off


def _mono(frame: Any) -> Samples:
    """A PyAV frame's samples, averaged over its channels, full scale 1."""
    values = frame.to_ndarray()
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    mono = values.mean(axis=0, dtype=np.float32 if values.dtype.kind == "f" else np.float64)
    if values.dtype.kind in "iu":
        full_scale = 2.0 ** (8 * values.itemsize - 1)
        mono = (mono - full_scale * (values.dtype.kind == "u")) / full_scale
    return mono.astype(np.float32)
