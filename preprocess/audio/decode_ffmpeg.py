"""What PyAV reads: blocks of mono float32 at the file's own times; a file's header. Importing it takes 0.1 s."""

import re
from collections.abc import Iterator
from typing import Any

import av
import numpy as np

from preprocess.audio.blocks import BLOCK_VALUES, Block, InvalidAudio, UnknownFormat
from preprocess.audio.downmix import Downmix
from preprocess.audio.ogg_links import FileSection, has_ogg_end
from preprocess.audio.wav_header import MIN_OPEN_BYTES, iter_chunks

EXACT_FORMATS, EXACT_TOLERANCE_S = ("flac", "ogg"), 0.002
"""Formats whose times are counts of samples: any gap is damage."""
TOLERANCE_S = 0.05
"""Times of others, and of Vorbis on its last page, may be wrong by so much: encoders and containers round them."""
UNTIMED_FORMATS = ("mp3", "aac", "ac3", "eac3", "dts", "truehd", "mpc", "amr", "loas")
"""Formats without times; FFmpeg counts frames."""
MAX_GAP_S = 3600.0
"""A longer gap is another clock, as where a broadcast is cut; broadcasts' own formats restart theirs more often."""
MAX_SILENCE_RATIO = 100
"""Gaps of more than an hour in all, and of more than so many times the sound, are a damaged header's."""
BROADCAST_FORMATS, MAX_BROADCAST_GAP_S = ("mpegts", "mpeg"), 10.0
ZERO_BASED_FORMATS = ("mov", "matroska")
"""Formats whose times count from the beginning of the presentation; in others the first time of all streams is zero."""
MATROSKA_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
"""A stream's tag; programs may write others."""
MAX_FILLED_FRAMES = 4
"""Frames that an encoder of MP3 adds, and decoders leave out."""
MAX_PLANES = 7
"""Of more, PyAV's to_ndarray reads beyond the last, and crashes."""
ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")
"""What the object begins with that holds the sound of ASF."""
TAG_BEGINNINGS = (b"TAG", b"ID3", b"APETAGEX", b"LYRICSBEGIN", b"3DI")
"""Of what stands before, between and behind the frames of MP3 and FLAC, and is no damage."""


def read_ffmpeg_header(path: str) -> tuple[int, int, str] | None:
    """Rate in Hz, number of channels, and format, as the file states them; None where PyAV cannot read it."""
    try:
        with _open_container(path, "file") as container:
            codec = container.streams.audio[0].codec_context if container.streams.audio else None
            return (codec.sample_rate, codec.channels, f"{container.format.name} {codec.name}") if codec else None
    except (av.FFmpegError, OSError, ValueError, ZeroDivisionError):
        return None


def decode_with_ffmpeg(
    section: FileSection, downmix: Downmix, warnings: list[str], start_s: float = 0.0
) -> Iterator[Block]:
    """Blocks of the first audio stream, silent where the file's times leave a gap.

    Adds to `warnings` what cannot be read; `start_s` is where the section is in the recording. Raises InvalidAudio.
    """
    with _open_audio(section) as container:
        decoder = _StreamDecoder(container, section, downmix, start_s)
        yield from decoder.blocks()
        warnings += decoder.warnings()


def _open_audio(source: FileSection) -> Any:
    """A container with an audio stream that can be decoded. Raises InvalidAudio."""
    try:
        container = _open_container(source, "none")
    except (av.FFmpegError, OSError, ValueError, ZeroDivisionError) as error:
        raise UnknownFormat from error
    if container.streams.audio and container.streams.audio[0].codec_context:
        return container
    with container:
        raise UnknownFormat if container.streams.audio else InvalidAudio("there is no sound in it")


def _open_container(source: str | FileSection, protocol: str) -> Any:
    """A container that reads by no other protocol: a playlist named .wav must not fetch what it lists."""
    return av.open(source, metadata_errors="replace", options={"protocol_whitelist": protocol})


class _StreamDecoder:
    """Decodes the first audio stream of a container, and keeps account of time."""

    def __init__(self, container: Any, section: FileSection, downmix: Downmix, start_s: float) -> None:
        self.position_s = start_s
        """Where in the recording the next sample is."""
        self._container, self._section, self._downmix = container, section, downmix
        self._format = container.format.name.split(",")[0]
        self._stream = container.streams.audio[0]
        self._fifo, self._form = av.AudioFifo(), ("", "", 0)
        self._clock_s: float | None = None
        """The file's time at position 0, once it is known."""
        self._unknown_s: float | None = None
        """Where frames without times begin."""
        self._gaps, self._errors, self._jumps = list[tuple[float, float]](), list[float](), list[float]()
        self._sound_s, self._silence_s, self._is_cut = 0.0, 0.0, False

    def blocks(self) -> Iterator[Block]:
        """Decode all. Call it once."""
        codec = self._stream.codec_context
        codec.thread_count = 1
        if codec.name == "flac":
            codec.options = {"err_detect": "crccheck+explode"}
        self._stated_s = self._find_stated_duration_s()
        self._is_cut = _is_sound_cut(self._section, self._format)
        for packet in self._packets():
            try:
                frames = packet.decode()
            except av.FFmpegError:
                if packet.size and not _is_tag(bytes(packet)) and self.position_s not in self._errors[-1:]:
                    self._errors.append(self.position_s)
                continue
            for frame in frames:
                yield from self._add(frame, packet)
        yield from self._flush()

    def _packets(self) -> Iterator[Any]:
        try:
            yield from self._container.demux(self._stream)
            if self._format == "mov" and (index := self._stream.index_entries):
                self._is_cut = not self._section.read_at(index[-1].pos + index[-1].size - 1, 1)
        except (av.FFmpegError, OSError):
            self._is_cut = True

    def _add(self, frame: Any, packet: Any) -> Iterator[Block]:
        """Take a frame; yield what is full, or ended by a gap or another form."""
        form = (frame.format.name, frame.layout.name, frame.sample_rate)
        gap_s = self._find_gap_s(frame, packet)
        if form != self._form or gap_s:
            yield from self._flush()
            self._fifo, self._form = av.AudioFifo(), form
        if gap_s:
            yield from _silence(round(gap_s * frame.sample_rate), frame.sample_rate)
            self.position_s += gap_s
        frame.pts = None  # the queue would refuse what does not follow
        self._fifo.write(frame)
        self._sound_s += frame.samples / frame.sample_rate
        self.position_s += frame.samples / frame.sample_rate
        if self._fifo.samples * len(frame.layout.channels) >= BLOCK_VALUES:
            yield from self._flush()

    def _flush(self) -> Iterator[Block]:
        frame = self._fifo.read(0, partial=True)
        if frame:
            yield self._form[2], self._downmix(*_planes(frame))

    def _find_gap_s(self, frame: Any, packet: Any) -> float:
        """Seconds between the end of the last frame and this one, by the file's times."""
        time_s = frame.time
        if self._format in UNTIMED_FORMATS:
            return 0.0
        if time_s is None:
            self._unknown_s = self.position_s if self._unknown_s is None else self._unknown_s
            return 0.0
        if self._clock_s is None:
            lead_s = self._find_lead_s(time_s, packet)
            if lead_s >= MAX_GAP_S:
                self._jumps.append(self.position_s)
                lead_s = 0.0
            self._clock_s = time_s - lead_s - self.position_s
            return lead_s if lead_s * frame.sample_rate >= 1 else 0.0
        lag_s, unknown_s = time_s - self._clock_s - self.position_s, self._unknown_s
        self._unknown_s = None
        is_exact = self._format in EXACT_FORMATS and self._stream.codec_context.name != "vorbis"
        is_exact = is_exact or self.position_s in self._errors[-1:]
        if abs(lag_s) < (EXACT_TOLERANCE_S if is_exact else TOLERANCE_S):
            return 0.0
        max_silence_s = MAX_GAP_S + MAX_SILENCE_RATIO * self._sound_s
        max_gap_s = MAX_BROADCAST_GAP_S if self._format in BROADCAST_FORMATS else max_silence_s - self._silence_s
        if 0 < lag_s < min(max_gap_s, MAX_GAP_S):
            self._gaps.append((self.position_s if unknown_s is None else unknown_s, lag_s))
            self._silence_s += lag_s
            return lag_s
        self._jumps.append(self.position_s)
        self._clock_s += lag_s
        return 0.0

    def _find_lead_s(self, time_s: float, packet: Any) -> float:
        """Seconds between the time at which a player starts, and the first frame's."""
        if self._container.start_time is None:
            return 0.0
        start_s = self._container.start_time / av.time_base
        origin_s = 0.0 if self._format in ZERO_BASED_FORMATS and start_s < MAX_GAP_S else start_s
        if self._format == "asf" and packet.pts is not None:  # its decoder is two frames late
            time_s = min(time_s, float(packet.pts * packet.time_base))
        return max(0.0, time_s - origin_s)

    def _find_stated_duration_s(self) -> float | None:
        """The length of the sound by the header; None where there is none, or FFmpeg's guess."""
        stream, duration_us = self._stream, self._container.duration
        tag = stream.metadata.get("DURATION", "") if self._format == "matroska" else ""
        if found := MATROSKA_DURATION.fullmatch(tag):
            hours, minutes, seconds = map(float, found.groups())
            return 3600 * hours + 60 * minutes + seconds
        if self._format in ("matroska", "flv"):
            is_of_sound = len(self._container.streams) == 1 and stream.duration is None  # FFmpeg's guess sets both
            return duration_us / av.time_base if duration_us and is_of_sound else None
        if self._format == "mp3":
            return _count_mp3_frames(self._section) * stream.codec_context.frame_size / stream.codec_context.sample_rate
        is_pcm_caf = self._format == "caf" and stream.codec_context.name.startswith("pcm_")
        if is_pcm_caf or (self._format == "avi" and _is_riff_cut(self._section)):
            return float(stream.frames * stream.time_base)
        return float(stream.duration * stream.time_base) if self._format == "flac" and stream.duration else None

    def warnings(self) -> list[str]:
        """What could not be read, once all is decoded."""
        end_s, parts = self.position_s, list[str]()
        if middle := [at_s for at_s in self._errors if at_s < end_s]:
            parts.append(f"damaged at {middle[0]:.2f} s" + _and_more(len(middle) - 1, "places"))
        if self._gaps:
            at_s, gap_s = self._gaps[0]
            parts.append(
                f"no sound from {at_s:.2f} to {at_s + gap_s:.2f} s, which is read as silence"
                + _and_more(len(self._gaps) - 1, f"gaps, {self._silence_s:.2f} s in all")
            )
        if self._jumps:
            parts.append(f"its times jump at {self._jumps[0]:.2f} s" + _and_more(len(self._jumps) - 1, "places"))
        stated_s = self._stated_s
        if stated_s and stated_s > end_s + 2 * TOLERANCE_S:
            parts.append(f"it breaks off at {end_s:.2f} s of {stated_s:.2f} s")
        elif len(middle) < len(self._errors) or self._is_cut:
            parts.append(f"cannot be read from {end_s:.2f} s on")
        elif not has_ogg_end(self._section):
            parts.append(f"it breaks off at {end_s:.2f} s")
        return parts


def _and_more(n: int, what: str) -> str:
    return f" (and {n} more {what})" if n else ""


def _is_tag(content: bytes) -> bool:
    """Whether the bytes behind a frame are a tag or filling."""
    return content.startswith(TAG_BEGINNINGS) or not content.strip(b"\0\r\n\t ")


def _count_mp3_frames(section: FileSection) -> int:
    """The least number of frames with sound by a header of Xing or LAME; 0 where there is none."""
    head, n_tag_bytes = section.read_at(0, 10), 0
    if head[:3] == b"ID3" and len(head) == 10:
        n_tag_bytes = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
    frame = section.read_at(n_tag_bytes, 200)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    is_stated = at >= 0 and len(frame) >= at + 12 and frame[at + 7] & 1
    return max(0, int.from_bytes(frame[at + 8 : at + 12]) - MAX_FILLED_FRAMES) if is_stated else 0


def _is_riff_cut(section: FileSection) -> bool:
    """Whether a RIFF file has fewer bytes than it states; a size that was never filled in states none."""
    n_bytes = int.from_bytes(section.read_at(4, 4), "little")
    return n_bytes < MIN_OPEN_BYTES and not section.read_at(7 + n_bytes, 1)


def _is_sound_cut(section: FileSection, form: str) -> bool:
    """Whether ASF, or WAV of a codec, has less sound than it states; a size that was never filled in states none."""
    at, size = 0, 0
    if form == "asf":
        at = int.from_bytes(section.read_at(16, 8), "little")
        if section.read_at(at, len(ASF_DATA)) == ASF_DATA:
            size = int.from_bytes(section.read_at(at + len(ASF_DATA), 8), "little")
    elif form == "wav" and (file := section.whole_file):
        at, size = next(((at, size) for name, at, size, _ in iter_chunks(file, 12) if name == b"data"), (0, 0))
    return 1 < size < MIN_OPEN_BYTES and not section.read_at(at + size - 2, 1)  # but for a byte that fills up


def _silence(n_samples: int, sample_rate_hz: int) -> Iterator[Block]:
    for start in range(0, n_samples, BLOCK_VALUES):
        yield sample_rate_hz, np.zeros(min(BLOCK_VALUES, n_samples - start), np.float32)


def _planes(frame: Any) -> tuple[np.ndarray, float]:
    """A PyAV frame's samples [n_channels, n_samples], and what they are at full scale. Raises InvalidAudio."""
    if frame.format.is_planar and len(frame.layout.channels) > MAX_PLANES:
        (frame,) = av.AudioResampler(frame.format.packed).resample(frame)
    try:
        values = frame.to_ndarray()
    except ValueError:
        raise InvalidAudio(f"its samples are of a type that cannot be read ({frame.format.name})") from None
    if not frame.format.is_planar:
        values = values.reshape(-1, len(frame.layout.channels)).T
    if values.dtype.kind == "u":
        return values.astype(np.int16) - 128, 128.0
    return values, 2.0 ** (8 * values.itemsize - 1) if values.dtype.kind == "i" else 1.0
