"""Recordings of no dataset, answered as they are heard: decoding, features and networks at once."""

import sys
import time
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from predict.journal import Entry, Journal
from predict.listener import Hearing, Listener
from predict.recordings import Recording
from predict.tagger import Answer, Tagger
from preprocess.coding import coding_of
from preprocess.decode import DecodeError
from recipe import Features

QUIET_S = 10.0
"""Seconds between lines where there is no terminal."""


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
    finished = {each.clip: journal.entry(each.path).finished() for each in recordings}
    missing = [each for each in recordings if finished[each.clip] is None]
    failed: list[tuple[str, str]] = []
    with Listener(features, n_jobs) as listener, _Progress(len(recordings), len(recordings) - len(missing)) as progress:
        for recording, hearing in zip(missing, listener.listen([str(each.path) for each in missing]), strict=True):
            try:
                entry = journal.entry(recording.path)
                _hear(recording, tagger, entry, _blocks(hearing, features, device), progress)
                finished[recording.clip] = entry.finish(hearing.end)
            except DecodeError as error:
                failed.append((recording.clip, error.reason))
            progress.done(len(failed))
    answers = {
        clip: tagger.answer(whole.heard, whole.start_s, whole.duration_s) for clip, whole in finished.items() if whole
    }
    return answers, failed


def _hear(recording: Recording, tagger: Tagger, entry: Entry, blocks: Iterator[Tensor], progress: "_Progress") -> None:
    """Hear one recording to its end, and keep each span at once. Raises DecodeError."""
    for part in tagger.hear(blocks, skip=len(entry.begun())):
        entry.add(part)
        progress.reached(recording.clip, part.start_frames[-1] / tagger.frames_per_second)


def _blocks(hearing: Hearing, features: Features, device: torch.device) -> Iterator[Tensor]:
    """Frames on the device in the features' unit, float32."""
    coding = coding_of(features)
    for block in hearing:
        yield torch.from_numpy(block).to(device).float() * coding.scale + coding.offset


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
