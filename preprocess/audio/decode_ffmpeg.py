"""What only PyAV reads: a file's blocks of mono float32, and what its header states. Importing it takes 0.1 s."""

from collections.abc import Iterator
from io import FileIO
from typing import Any

import av
import numpy as np

from preprocess.audio.blocks import Block, InvalidAudio
from preprocess.frames.framing import Samples


def read_ffmpeg_header(path: str) -> tuple[int, int, str] | None:
    """Rate in Hz, number of channels, and format, as the file states them; None where PyAV cannot read it."""
    try:
        with _open_container(path, "file") as container:
            codec = container.streams.audio[0].codec_context if container.streams.audio else None
            return (codec.sample_rate, codec.channels, f"{container.format.name} {codec.name}") if codec else None
    except (av.FFmpegError, OSError, ValueError):
        return None


def decode_with_ffmpeg(file: FileIO, soundfile_error: str) -> Iterator[Block]:
    """Small blocks of the first audio stream. Raises InvalidAudio; `soundfile_error` is soundfile's reason."""
    unreadable = InvalidAudio(f"neither soundfile nor PyAV can read it ({soundfile_error})")
    try:
        container = _open_container(file, "none")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise unreadable from error
    with container:
        if not container.streams.audio:
            raise InvalidAudio("there is no sound in it")
        if container.streams.audio[0].codec_context is None:  # PyAV does not know the codec
            raise unreadable
        yield from _decode_packets(container)


def _open_container(source: str | FileIO, protocol: str) -> Any:
    """A container that reads by no other protocol: a playlist named .wav must not fetch what it lists."""
    return av.open(source, metadata_errors="replace", options={"protocol_whitelist": protocol})


def _decode_packets(container: Any) -> Iterator[Block]:
    """Yield a block a frame. Damaged packets at either end are skipped. Raises InvalidAudio for one in the middle."""
    stream = container.streams.audio[0]
    stream.codec_context.thread_count = 1
    any_decoded = damaged = False
    try:
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except av.FFmpegError:
                damaged = any_decoded
                continue
            if frames and damaged and packet.size:  # the packet of size 0 only empties the decoder
                raise InvalidAudio("damaged in the middle")
            for frame in frames:
                any_decoded = True
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
