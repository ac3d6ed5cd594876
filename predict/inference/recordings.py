"""Recordings of no dataset, answered as they are heard: decoding, features and networks at once."""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from core.entrypoint import warn
from predict.decoding.decoder_pool import Hearing, Listener
from predict.inference.batching import Sound, hear_all
from predict.inference.dataset_clips import values_of
from predict.inference.input_files import Recording
from predict.inference.score_cache import Entry, Journal
from predict.inference.tagger import Answer, Heard, Tagger
from preprocess.store.encoding import coding_of
from preprocess.store.schema import Stored
from recipe import Features, Prediction

QUIET_S = 10.0
"""Seconds between lines where there is no terminal."""
CHANGED = "it changed while it was heard: run the same command again"


def answer_recordings(
    recordings: Sequence[Recording],
    tagger: Tagger,
    features: Features,
    journal: Journal,
    device: torch.device,
    n_jobs: int,
) -> tuple[dict[str, Answer], list[tuple[str, str]]]:
    """The answer for each recording, and (clip, reason) of those that cannot be read.

    What the journal has is not heard again, and it is kept up to date, so that an interrupted run can go on.
    """
    # Taken before any is decoded: what changes from here on is noticed when it ends.
    entries = {each.clip: journal.entry(each.path) for each in recordings}
    names = {entry.path: clip for clip, entry in entries.items()}  # a link and its target share a page: heard once
    pages = {entry.path: entry for entry in entries.values()}
    finished = {page: entry.finished() for page, entry in pages.items()}
    missing = [entry for page, entry in pages.items() if finished[page] is None]
    reasons: dict[Path, str] = {}
    with Listener(features, n_jobs) as listener, _Progress(len(pages), len(pages) - len(missing)) as progress:
        hearings = zip(missing, listener.listen([str(each.recording) for each in missing]), strict=True)
        sounds = (_sound(entry, hearing, features, device) for entry, hearing in hearings)
        for (entry, hearing), heard in hear_all(tagger, sounds, device, n_jobs):
            match heard:
                case Heard():
                    entry.add(heard)
                    progress.reached(names[entry.path], heard.start_frames[-1] / tagger.frames_per_second)
                case None:
                    finished[entry.path] = entry.finish(hearing.end)
                    if finished[entry.path] is None:
                        reasons[entry.path] = CHANGED
                    progress.done(len(reasons))
                case error:
                    reasons[entry.path] = error.reason
                    progress.done(len(reasons))
    wholes = {clip: finished[entry.path] for clip, entry in entries.items()}
    answers = {
        clip: tagger.answer(whole.heard, whole.start_s, whole.duration_s) for clip, whole in wholes.items() if whole
    }
    return answers, [(clip, reasons[entry.path]) for clip, entry in entries.items() if entry.path in reasons]


def warn_of_copies(prediction: Prediction) -> None:
    """Say which of the keys asks for what recordings of no dataset do not have."""
    if prediction.view_copies:
        warn("prediction.view_copies is for clips of a dataset: recordings are heard without copies")


def _sound(entry: Entry, hearing: Hearing, features: Features, device: torch.device) -> Sound[tuple[Entry, Hearing]]:
    """A recording as it is heard, from where the journal ends."""
    return Sound((entry, hearing), as_frames(hearing, features, device), len(entry.begun()))


def as_frames(blocks: Iterable[Stored], features: Features, device: torch.device) -> Iterator[Tensor]:
    """Stored blocks [n_frames, n_bins] as float32 on the device, in the features' unit."""
    coding = coding_of(features)
    for block in blocks:
        yield values_of(block, coding.scale, coding.offset, device)


class _Progress:
    """Recordings, and how far into a long one: a bar on a terminal, a line now and then elsewhere."""

    def __init__(self, n_recordings: int, n_done: int) -> None:
        self.bar = tqdm(total=n_recordings, initial=n_done, desc="predict", unit="clip", disable=None)
        self.n_recordings, self.n_done, self.n_failed = n_recordings, n_done, 0
        self.spoke = time.monotonic()

    def __enter__(self) -> "_Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.close()

    def reached(self, clip: str, position_s: float) -> None:
        """So much of a recording has been heard."""
        where = f"{clip} at {position_s / 60:.0f} min, {self.n_failed} failed"
        self.bar.set_postfix_str(where, refresh=False)
        self.bar.update(0)
        if self.bar.disable and time.monotonic() - self.spoke >= QUIET_S:
            self.spoke = time.monotonic()
            print(f"{self.n_done} of {self.n_recordings} recordings, {where}", file=sys.stderr, flush=True)

    def done(self, n_failed: int) -> None:
        """One more recording is done with, and so many cannot be read."""
        self.n_failed = n_failed
        self.n_done += 1
        self.bar.update()
