"""SCRIPT  a process that computes parts for `worker_pool`, and may die of a recording without harm to others."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection

from core.errors import is_want_of_memory
from preprocess.audio.blocks import DecodeError
from preprocess.audio.clip_audio import Recording
from preprocess.audio.offline_augment import copies_of
from preprocess.audio.watchdog import watched
from preprocess.build.messages import ClipJob, Ended, Failure, Halted, Message, PartJob, Ready, Wrote
from preprocess.build.progress_index import Whereabouts
from preprocess.frames.framing import Samples
from preprocess.frames.kinds import build_transform
from preprocess.store.file_identity import is_same, quick_stamp, stamp_of
from preprocess.store.shards import Part, written_part
from recipe import Features

PART_S = 10.0
"""Of a part: what a stop may lose, beside the clip it falls into."""


class Worker:
    """Computes parts, one after the other.

    `tell` sends a message to the parent, `begin` the index of a clip begun; `called` is whether the parent has spoken.
    """

    def __init__(
        self,
        features: Features,
        tell: Callable[[Message], None],
        begin: Callable[[int], None] = lambda _: None,
        called: Callable[[], bool] = lambda: False,
        device: str = "cpu",
    ) -> None:
        self.features, self.tell, self.begin, self.called = features, tell, begin, called
        self.transform = build_transform(features, device)

    def compute(self, job: PartJob) -> None:
        """Compute a part and write it, but for clips not begun after PART_S: their parent has them computed in another.

        Raises OSError where it cannot be written.
        """
        ends: list[Ended] = []
        began = time.monotonic()
        with written_part(job.part, self.features) as part:
            for index, clip in enumerate(job.clips):
                if ends and (time.monotonic() - began > PART_S or self.called()):
                    break  # a parent that speaks during a job is gone: the pipe has ended
                self.begin(index)
                ends.append(self._compute_clip(clip, part))
        self.tell(Wrote(job.part, tuple(ends), tuple(part.rows)))

    def _compute_clip(self, job: ClipJob, part: Part) -> Ended:
        """Add the rows of a clip, as recorded and as copied, to a part, or none of them."""
        n_rows, stamp = len(part.rows), stamp_of(job.path)
        try:
            recording = Recording(job.path, self.features, watched)
            copies = copies_of(job.clip, self.features)[: job.n_copies]
            sounds: list[Iterable[Samples]] = [recording, *(copy(recording) for copy in copies)]
            for variant, sound in enumerate(sounds):
                for frames in self.transform(sound):
                    part.add(frames)
                part.end_row(job.clip, variant, stamp, recording.start_s, recording.duration_s)
            if not is_same(
                stamp, quick_stamp(job.path), job.path
            ):  # it changed while it was read: its parent will say so
                part.cut(n_rows)
            return Ended(recording.duration_s)
        except DecodeError as error:
            failure = Failure(job.clip, job.path, error.reason, "" if error.passing else stamp)
        except OSError:
            raise  # the disk's
        except Exception as error:  # one recording's trouble is never another's
            stamp = "" if is_want_of_memory(error) else stamp
            failure = Failure(job.clip, job.path, f"{type(error).__name__}: {error}", stamp)
        part.cut(n_rows)
        return Ended(0.0, failure)


def _in_words(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or f"{type(error).__name__}: {error}")


def main() -> None:
    """Serve jobs from a connection until it is closed. The arguments: file descriptors of it, and of Whereabouts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    connection = Connection(int(sys.argv[1]))
    features, device = connection.recv()
    worker = Worker(features, connection.send, Whereabouts(int(sys.argv[2])).put, connection.poll, device)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # decoders in C mutter about damaged files
    connection.send(Ready())
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            worker.compute(job)
        except Exception as error:  # no recording's fault: a full disk, or a mistake of ours
            connection.send(Halted(f"{job.part}: {_in_words(error)}"))


if __name__ == "__main__":
    main()
