"""Recordings as programs write them: encoded by PyAV, and WAV files put together by hand."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np

LAYOUTS = {1: "mono", 2: "stereo"}


def encode_with_pyav(
    form: str,
    codec: str,
    sound: np.ndarray,
    sample_rate_hz: int = 48_000,
    starts_s: Sequence[tuple[float, float]] = (),
    with_video: bool = False,
    options: dict[str, str] | None = None,
) -> bytes:
    """A file of `sound` [n_samples] or [n_samples, n_channels], encoded.

    `starts_s` are pairs: from the first second of the sound on, it is as much later as the second says. `with_video`
    puts a film of two seconds beside it, from 0 s on. `options` are FFmpeg's.
    """
    sound = sound.reshape(len(sound), -1).astype(np.float32)
    data = BytesIO()
    with av.open(data, "w", format=form, options=options) as container:
        video: Any = None
        if with_video:
            video = container.add_stream("mpeg4", rate=10)
            video.width = video.height = 32
            video.pix_fmt = "yuv420p"
        stream: Any = container.add_stream(codec, rate=sample_rate_hz, layout=LAYOUTS[sound.shape[1]])
        stream.bit_rate = 96_000
        context = stream.codec_context
        context.open()
        if with_video:
            for number in range(20):
                picture = av.VideoFrame.from_ndarray(np.full((32, 32, 3), number, np.uint8), "rgb24")
                picture.pts = number
                container.mux(video.encode(picture))
        frame_size = context.frame_size or 1024
        resampler = av.AudioResampler(context.format.name, LAYOUTS[sound.shape[1]], sample_rate_hz)
        for start in range(0, len(sound), frame_size):
            block = np.ascontiguousarray(sound[start : start + frame_size].T)
            frame = av.AudioFrame.from_ndarray(block, "fltp", LAYOUTS[sound.shape[1]])
            frame.sample_rate = sample_rate_hz
            (frame,) = resampler.resample(frame)
            late_s = max((late for at, late in starts_s if at * sample_rate_hz <= start), default=0.0)
            frame.pts = start + round(late_s * sample_rate_hz)
            container.mux(stream.encode(frame))
        if with_video:
            container.mux(video.encode(None))
        container.mux(stream.encode(None))
    return data.getvalue()


def write_with_pyav(path: Path, form: str, codec: str, sound: np.ndarray, **keys: Any) -> None:
    """Write what `encode_with_pyav` makes."""
    path.write_bytes(encode_with_pyav(form, codec, sound, **keys))
