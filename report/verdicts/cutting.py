"""Clips cut from recordings, exact to the sample, at the recordings' own rates."""

import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.files import atomic_write
from core.parallel import run_parallel
from core.progress import progress_bar
from core.sandbox import SandboxLimits
from preprocess.audio.blocks import DecodeError
from preprocess.audio.decode import decode_blocks, find_sample_rate
from preprocess.audio.isolated import ErrorTally, read_isolated
from preprocess.frames.framing import Samples


@dataclass(frozen=True)
class CutTask:
    """What is cut from one recording."""

    recording: Path
    centers_s: Sequence[float]
    files: Sequence[Path]
    """Where the clips go, WAV or FLAC by their names."""
    seconds: float
    channel: str | int


@dataclass(frozen=True)
class CutClip:
    """Where a clip lies in its recording."""

    file: Path
    start_s: float
    end_s: float


def cut_clips(
    path: str, centers_s: Sequence[float], seconds: float, channel: str | int
) -> Iterator[tuple[int, int, int, Samples]]:
    """Yield index, rate in Hz, first sample and samples of the `seconds` about each of `centers_s` in a recording.

    A clip is moved to lie within the recording, and is all of a shorter one. Raises DecodeError.
    """
    rate_hz = find_sample_rate(path)
    length = max(1, round(seconds * rate_hz))
    firsts = [max(0, round(center_s * rate_hz - length / 2)) for center_s in centers_s]
    pending = sorted(range(len(firsts)), key=firsts.__getitem__, reverse=True)
    held, held_first, n_read = np.zeros(0, np.float32), 0, 0
    for block in decode_blocks(path, rate_hz, channel):
        held, n_read = np.concatenate([held, block]), n_read + len(block)
        while pending and firsts[pending[-1]] + length <= n_read:
            first = firsts[index := pending.pop()]
            yield index, rate_hz, first, held[first - held_first :][:length]
        if not pending:
            return
        held = held[-length:]  # no later clip, nor one at the end, begins before these
        held_first = n_read - len(held)
    for index in reversed(pending):
        yield index, rate_hz, held_first, held


def cut_recording(task: CutTask, limits: SandboxLimits) -> list[CutClip] | DecodeError:
    """Write the clips of one recording. Returns where they lie, or why there are none."""
    found = []
    arguments = str(task.recording.absolute()), list(task.centers_s), task.seconds, task.channel
    try:
        for index, rate_hz, first, samples in read_isolated(cut_clips, *arguments, limits=limits):
            file = task.files[index]  # may be there, of an interrupted run with another length
            encoded = io.BytesIO()  # libsndfile says nothing of a full disk
            soundfile.write(encoded, to_words(samples), rate_hz, subtype="PCM_24", format=file.suffix[1:].upper())
            with atomic_write(file) as temporary:
                temporary.write_bytes(encoded.getvalue())
            found.append(CutClip(file, first / rate_hz, (first + len(samples)) / rate_hz))
    except DecodeError as error:
        return error
    return found


def to_words(samples: Samples) -> np.ndarray:
    """Samples as 24 bits in words of int32: those of 16 or 24 bits as they were; libsndfile would scale them."""
    scaled = np.round(samples.astype(np.float64) * 2**23)
    return np.clip(scaled, -(2**23), 2**23 - 1).astype(np.int32) << 8


def cut_all(tasks: Sequence[CutTask], limits: SandboxLimits, n_jobs: int) -> Iterator[CutClip | DecodeError]:
    """Yield where each clip of the tasks lies, and the recordings that cannot be read. Raises UserError."""
    tally = ErrorTally()
    with (
        progress_bar(sum(len(task.files) for task in tasks), "cut", "clip") as progress,
        closing(run_parallel(lambda task: cut_recording(task, limits), tasks, n_jobs)) as results,
    ):
        for result in results:
            tally.add(result if isinstance(result, DecodeError) else None)
            yield from [result] if isinstance(result, DecodeError) else result
            progress.update(1 if isinstance(result, DecodeError) else len(result))
