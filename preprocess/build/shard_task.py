"""One task of make features: some recordings, whose frames are computed in a sandbox and written to shards."""

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from core.files import atomic_write
from core.sandbox import STALL_TIMEOUT_S, SandboxError, SandboxLimits, borrow_sandbox
from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import ClipAudio
from preprocess.audio.isolated import to_decode_error
from preprocess.audio.offline_augment import offline_augmentations
from preprocess.frames import get_transform
from preprocess.frames.framing import Samples
from preprocess.store.encoding import count_frame_bytes
from preprocess.store.file_identity import file_fingerprint, is_same_file, stat_fingerprint
from preprocess.store.schema import Row
from preprocess.store.shards import append_frames, write_shard_table
from recipe import Features

SHARD_TIME_S = 10.0
"""Time after which a shard ends. A stop loses at most so much work, and one clip."""
Written = tuple[list[Row], float]
"""The rows of a clip, none if the recording changed while it was read, and its duration in s."""


@dataclass(frozen=True)
class ClipJob:
    """One recording to be turned into frames."""

    clip: str
    path: str
    n_augmentations: int = 0
    """The recipe's offline copies that are wanted: all or none."""
    source: str = ""
    """Stat fingerprint of the recording when the job was planned."""


@dataclass(frozen=True)
class ShardTask:
    """Some recordings, whose frames go to `shard`, and to files of similar names where they take long."""

    shard: Path
    clips: tuple[ClipJob, ...]
    features: Features
    fingerprint: str
    """The features_digest, by which the shard is known to be of them."""
    limits: SandboxLimits


@dataclass(frozen=True)
class ClipResult:
    """The length of a recording, or why it failed."""

    job: ClipJob
    duration_s: float = 0.0
    error: DecodeError | None = None
    source: str = ""
    """Fingerprint of a recording that failed by its own fault; '' where it is to be tried again."""


@dataclass(frozen=True)
class ShardResult:
    """A finished shard, and its rows, so that nobody need read it for them."""

    shard: Path
    rows: tuple[Row, ...]
    clip_results: tuple[ClipResult, ...]


def compute_shards(task: ShardTask) -> list[ShardResult]:
    """Compute the frames of a task's clips. Raises OSError where they cannot be written, and Cancelled."""
    results, waiting = list[ShardResult](), deque(task.clips)
    while waiting:
        shard = task.shard.with_stem(f"{task.shard.stem}-{len(results)}")
        results.append(_compute_shard(task, shard, waiting))
    return results


def _compute_shard(task: ShardTask, shard: Path, waiting: deque[ClipJob]) -> ShardResult:
    """Write a shard of the first clips of `waiting`, as many as there is time for, and remove them there."""
    rows, clip_results, stop_s = list[Row](), list[ClipResult](), time.monotonic() + SHARD_TIME_S
    with atomic_write(shard, fsync=False) as temporary:
        temporary.touch()
        while waiting and (not clip_results or time.monotonic() < stop_s):
            for written in _append_isolated(task, temporary, waiting, rows, stop_s):
                job = waiting.popleft()
                if isinstance(written, DecodeError):
                    source = file_fingerprint(job.path)
                    is_to_blame = not written.transient and is_same_file(source, job.source, job.path)
                    clip_results.append(ClipResult(job, error=written, source=source if is_to_blame else ""))
                else:
                    clip_rows, duration_s = written
                    rows += clip_rows
                    clip_results.append(ClipResult(job, duration_s))
        with temporary.open("r+b") as file:
            write_shard_table(file, task.features, task.fingerprint, rows)
    return ShardResult(shard, tuple(rows), tuple(clip_results))


def _append_isolated(
    task: ShardTask, shard: Path, waiting: Sequence[ClipJob], rows: Sequence[Row], stop_s: float
) -> Iterator[Written | DecodeError]:
    """Yield what `append_clips` does in a sandbox; the caller moves each clip from `waiting` to `rows`.

    A sandbox that dies is replaced, and the next goes on with the clip that was under way. The second time it is the
    clip's fault: then its DecodeError is the last.
    """
    death: SandboxError | None = None
    while True:
        arguments = (tuple(waiting), str(shard), sum(row.n_frames for row in rows), task.features, stop_s)
        try:
            with (
                borrow_sandbox(task.limits, fresh=bool(death)) as sandbox,  # what killed one may have killed the idle
                closing(sandbox.run(append_clips, *arguments, stall_timeout_s=STALL_TIMEOUT_S)) as results,
            ):
                for written in results:
                    death = None
                    yield written
            return
        except SandboxError as error:
            if death:
                error = SandboxError(error.reason, error.transient or death.transient)
                yield to_decode_error(waiting[0].path, error)
                return
            death = error
        except Exception as error:
            yield to_decode_error(waiting[0].path, error)
            return


def append_clips(
    jobs: Sequence[ClipJob], shard: str, n_before: int, features: Features, stop_s: float
) -> Iterator[Written | DecodeError]:
    """Yield what `append_clip` returns for the first of some clips, or raises, and the next until `stop_s`.

    That is a time of this machine's monotonic clock. In a sandbox, which need not wait between clips for its parent.
    """
    for job in jobs:
        try:
            written = append_clip(job, shard, n_before, features)
        except DecodeError as error:
            yield error
        else:
            n_before += sum(row.n_frames for row in written[0])
            yield written
        if time.monotonic() >= stop_s:
            return


def append_clip(job: ClipJob, shard: str, n_before: int, features: Features) -> Written:
    """Write the frames of a clip, as recorded and as copied, to a file behind `n_before` other frames."""
    source, clip_audio, rows = file_fingerprint(job.path), ClipAudio(job.path, features), list[Row]()
    augmentations = offline_augmentations(job.clip, features) if job.n_augmentations else []
    variants: list[Iterable[Samples]] = [clip_audio, *(augment(clip_audio) for augment in augmentations)]
    with Path(shard).open("r+b") as file:
        file.seek(count_frame_bytes(n_before, features))
        for variant, sound in enumerate(variants):
            n_frames, digest = append_frames(file, features, get_transform(features)(sound))
            times_s, warning = (clip_audio.start_s, clip_audio.duration_s), "; ".join(clip_audio.warnings)
            rows.append(Row(job.clip, variant, source, *times_s, n_frames, digest, warning))
    is_unchanged = is_same_file(source, stat_fingerprint(job.path), job.path)
    return rows if is_unchanged else [], clip_audio.duration_s
