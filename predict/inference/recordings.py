"""Recordings of no dataset: decoded in sandboxes and scored as their frames arrive, here or on a cluster."""

from core.entrypoint import log_warning

import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from core.device import DevicePool, pick_device
from core.errors import UserError
from core.parallel import run_parallel
from core.progress import progress_bar
from core.sandbox import Cancelled, SandboxLimits
from predict.inference.dataset_clips import dequantise
from predict.inference.run_loader import load_run
from predict.inference.score_cache import CachedRecording, RecordingScores, cached_recording, score_cache_dir
from predict.inference.tagger import ClipPrediction, Tagger
from preprocess.audio.blocks import DecodeError
from preprocess.audio.isolated import ErrorTally, read_isolated
from preprocess.build.frame_stream import RecordingEnd, stream_frames
from preprocess.dataset.discovery import describe_left_out, find_audio_files
from preprocess.store.encoding import encoding_for
from preprocess.store.file_identity import size_in_fingerprint
from recipe import Features, Prediction
from train.evaluate.window_scorer import MIN_BATCH_WINDOWS, WindowScorer, WindowScores, join_windows
from train.evaluate.windows import WindowChunk

MAX_CLUSTER_TASKS = 20_000
"""With more recordings, a task of a cluster has several: its scheduler holds them all."""
MAX_BATCH_RECORDINGS, MAX_BATCH_BYTES = 8, 1 << 22
"""A task of this machine has so many recordings at most: some seconds of work."""
CHANGED_REASON = "it changed while it was read: run the same command again"

ScoreChunk = Callable[[WindowChunk, int], WindowScores]
"""Scores a chunk of windows, given how many windows of the recording have been."""


def find_input_files(source: Path) -> dict[str, Path]:
    """The recording `source`, or those below it, by their names in the CSVs, sorted. Raises UserError if none is there.

    Bytes of a name that are not UTF-8 are escaped.
    """
    if not source.exists():
        raise UserError(f"{source} is not there: INPUT= names a recording, or a folder of them")
    if not source.is_dir():
        return {_escape(Path(source.name)): source}
    left_out = list[Path]()
    paths = find_audio_files(source, left_out, allow_non_utf8=True)
    for warning in describe_left_out(source, left_out):
        log_warning(warning)
    if not paths:
        raise UserError(f"{source} holds no recording: INPUT= names a recording, or a folder of them")
    return {_escape(path.relative_to(source)): path for path in paths}


def _escape(path: Path) -> str:
    return path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


@dataclass
class RecordingFrames:
    """The frames of a recording [n_frames, n_bins] in blocks, as a sandbox decodes it; `end` is known after the last.

    Iterating raises DecodeError, and Cancelled by the event.
    """

    path: Path
    features: Features
    limits: SandboxLimits
    device: torch.device
    max_duration_s: float = math.inf
    cancelled: threading.Event | None = None
    end: RecordingEnd = field(default_factory=lambda: RecordingEnd(0.0, 0.0))

    def __iter__(self) -> Iterator[Tensor]:
        encoding, path = encoding_for(self.features), str(self.path.absolute())  # a sandbox is in a folder of its own
        arguments = (path, self.features, self.max_duration_s)
        for item in read_isolated(stream_frames, *arguments, limits=self.limits, cancelled=self.cancelled):
            if isinstance(item, RecordingEnd):
                self.end = item
            else:
                yield dequantise(item, encoding.scale, encoding.offset, self.device)

    def join_scores(self, parts: Sequence[WindowScores]) -> RecordingScores:
        """The scores of the recording from those of all its chunks."""
        return RecordingScores(join_windows(parts), self.end.start_s, self.end.duration_s, self.end.warning)


def score_recording(
    path: Path,
    scorer: WindowScorer,
    features: Features,
    limits: SandboxLimits,
    device: torch.device,
    *,
    score_chunk: ScoreChunk,
    max_duration_s: float = math.inf,
    cancelled: threading.Event | None = None,
) -> RecordingScores:
    """The windows of a recording, scored as a sandbox decodes it. Raises DecodeError, and Cancelled by the event."""
    frames, parts = RecordingFrames(path, features, limits, device, max_duration_s, cancelled), list[WindowScores]()
    for chunk in scorer.iter_chunks(frames):
        if cancelled and cancelled.is_set():
            raise Cancelled
        n_scored = sum(len(part.scores) for part in parts)
        parts.append(score_chunk(chunk, n_scored))
    return frames.join_scores(parts)


def score_recordings(
    paths: Sequence[Path], scorer: WindowScorer, features: Features, limits: SandboxLimits, device: torch.device
) -> list[RecordingScores | DecodeError]:
    """The scores of recordings, or why there are none. Windows are scored together."""
    # A GPU's memory may have room for but one.
    turn = nullcontext() if device.type == "cpu" else _gpu_turns[str(device)]
    waiting, parts = list[tuple[int, WindowChunk]](), [list[WindowScores]() for _ in paths]

    def score_waiting() -> None:
        if waiting:
            with turn:
                scores = scorer.score_chunks([chunk for _, chunk in waiting])
            for (index, _), part in zip(waiting, scores, strict=True):
                parts[index].append(part)
            waiting.clear()

    decoded = list[RecordingFrames | DecodeError]()
    for index, path in enumerate(paths):
        frames = RecordingFrames(path, features, limits, device)
        decoded.append(frames)
        try:
            for chunk in scorer.iter_chunks(frames):
                waiting.append((index, chunk))
                if sum(len(each.starts) for _, each in waiting) >= MIN_BATCH_WINDOWS:
                    score_waiting()
        except DecodeError as error:
            decoded[-1] = error
    score_waiting()
    return [
        each if isinstance(each, DecodeError) else each.join_scores(own_parts)
        for each, own_parts in zip(decoded, parts, strict=True)
    ]


@dataclass(frozen=True)
class RecordingTask:
    """What a process needs to score a recording."""

    entry: CachedRecording
    run_dir: Path
    prediction: Prediction
    features: Features
    limits: SandboxLimits
    device: str
    n_threads: int


ScoredRecording = tuple[CachedRecording, RecordingScores | DecodeError]
Rows = list[tuple[str, str]]
"""(clip, reason) of what cannot be read, or (clip, warning) of what can be only in part."""
FilePredictions = tuple[dict[str, ClipPrediction], Rows, Rows]
"""Predictions by name, what cannot be read, warnings."""
_scorers: dict[tuple[Path, str], WindowScorer] = {}
"""The networks of the last run, loaded once a process and device, by the folder of their score cache and the device."""
_loading = threading.Lock()
_gpu_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


def load_scorer(task: RecordingTask, device: torch.device) -> WindowScorer:
    """The networks of a task's run. Raises UserError where the run has others now."""
    folder = task.entry.path.parent
    key = (folder, task.device)
    with _loading:
        if key not in _scorers:
            run = load_run(task.run_dir, replace(task.prediction, calibrate=False), device)
            if score_cache_dir(folder.parent, run) != folder:
                raise UserError(f"{task.run_dir} has other networks now: run the same command again")
            for other in [each for each in _scorers if each[0] != folder]:
                del _scorers[other]
            _scorers[key] = run.tagger().scorer
        return _scorers[key]


def score_tasks(tasks: Sequence[RecordingTask]) -> list[ScoredRecording]:
    """The scores of recordings, which are added to the cache, or why there are none."""
    first, entries, scored = tasks[0], [task.entry for task in tasks], list[ScoredRecording]()
    device = pick_device(first.device)
    torch.set_num_threads(first.n_threads)  # of this thread
    scorer, paths = load_scorer(first, device), [entry.recording for entry in entries]
    results = score_recordings(paths, scorer, first.features, first.limits, device)
    for entry, result in zip(entries, results, strict=True):
        is_changed = isinstance(result, RecordingScores) and not entry.save(result)
        scored.append((entry, DecodeError(entry.recording, CHANGED_REASON) if is_changed else result))
    return scored


def predict_files(
    recordings: Mapping[str, Path],
    tagger: Tagger,
    features: Features,
    cache_dir: Path,
    run_dir: Path,
    limits: SandboxLimits,
    device: torch.device,
    n_jobs: int,
    scheduler: str | None = None,
    devices: Sequence[str] = (),
) -> FilePredictions:
    """The predictions of recordings by name, with what cannot be read.

    They are scored on `device`, where the tagger's networks are, or on several `devices`. Recordings whose scores are
    in `cache_dir` are not decoded again; those of the others are added there. Other devices and the workers of a
    cluster load the networks from `run_dir`.
    """
    entries = {clip: cached_recording(cache_dir, path) for clip, path in recordings.items()}
    done: dict[Path, RecordingScores | DecodeError] = {}
    tally = ErrorTally()
    for entry in entries.values():
        if scores := entry.load():
            done[entry.path] = scores
            tally.add(None)
    missing = {entry.path: entry for entry in entries.values() if entry.path not in done}
    n_parallel = max(1, min(n_jobs, len(missing)))
    devices = devices or [str(device)]
    n_threads = 1 if scheduler else max(1, n_jobs // n_parallel)
    pool = DevicePool(devices, n_parallel)

    def score_on_free_device(batch: Sequence[RecordingTask]) -> list[ScoredRecording]:
        with pool.take() as free_device:
            return score_tasks([replace(task, device=free_device) for task in batch])

    tasks = [
        RecordingTask(entry, run_dir.absolute(), tagger.scorer.prediction, features, limits, devices[0], n_threads)
        for entry in missing.values()
    ]
    _scorers.clear()
    _scorers[cache_dir, str(device)] = tagger.scorer
    score = score_tasks if scheduler else score_on_free_device
    if scheduler:
        n_batch = max(1, -(-len(tasks) // MAX_CLUSTER_TASKS))
        batches = [tasks[start : start + n_batch] for start in range(0, len(tasks), n_batch)]
    else:
        batches = split_into_batches(tasks, n_parallel)
    with (
        progress_bar(len(entries), "predict", "clip") as progress,
        closing(run_parallel(score, batches, n_parallel, scheduler)) as results,
    ):
        progress.update(len(entries) - len(missing))
        for entry, result in chain.from_iterable(results):
            done[entry.path] = result
            tally.add(result if isinstance(result, DecodeError) else None)
            progress.update()
    failed, warnings = Rows(), Rows()
    by_clip = ((clip, done[entry.path]) for clip, entry in entries.items())
    return dict(pool_recordings(by_clip, tagger, failed, warnings)), failed, warnings


def split_into_batches(tasks: Sequence[RecordingTask], n_parallel: int) -> list[list[RecordingTask]]:
    """Tasks in groups: short recordings together, whose windows fill a batch; and few, so that no thread idles."""
    n_batch = min(MAX_BATCH_RECORDINGS, len(tasks) // (4 * n_parallel))
    batches, n_bytes = list[list[RecordingTask]](), 0
    for task in tasks:
        size = size_in_fingerprint(task.entry.fingerprint)
        if not batches or len(batches[-1]) >= n_batch or n_bytes + size > MAX_BATCH_BYTES:
            batches.append([])
            n_bytes = 0
        batches[-1].append(task)
        n_bytes += size
    return batches


def pool_recordings(
    results: Iterable[tuple[str, RecordingScores | DecodeError]], tagger: Tagger, failed: Rows, warnings: Rows
) -> Iterator[tuple[str, ClipPrediction]]:
    """Yield the predictions of recordings by name; `failed` gets what cannot be read, `warnings` what only in part."""
    for clip, result in results:
        if isinstance(result, DecodeError):
            failed.append((clip, result.reason))
        else:
            warnings.extend([(clip, result.warning)] if result.warning else [])
            yield clip, tagger.pool_clip(result.windows, result.start_s, result.duration_s)
