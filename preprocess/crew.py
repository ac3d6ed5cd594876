"""Processes that compute parts. One that dies or hangs costs its recording alone: the others go on.

A pool of joblib or concurrent.futures falls whole when one of its processes dies, and does not tell of what. Here each
joblib thread drives one process over a pipe, knows its clip, and replaces it when it dies.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from joblib import Parallel, delayed

from errors import BadInput
from preprocess.jobs import Ended, Failure, Halted, PartJob, Wrote, source_stamp
from preprocess.watch import SILENT_S
from preprocess.whereabouts import Whereabouts
from recipe import Features

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    # glibc: keep freed blocks of a megabyte. Given back and faulted in anew, they doubled the time of log-mel.
    **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(1 << 26)),
}
"""Of a worker: one thread, since each core has a worker of its own."""
WORKER = (sys.executable, "-m", "preprocess.worker")
ENDED_BY_OTHERS = (-signal.SIGKILL, -signal.SIGTERM)


class _Died(Exception):
    """A worker is gone: the index of its clip, and its exit status."""

    def __init__(self, index: int, status: int) -> None:
        super().__init__(index, status)
        self.index, self.status = index, status

    @property
    def by_others(self) -> bool:
        """Whether it was ended from outside, for want of memory perhaps: the recording may do another time."""
        return self.status in ENDED_BY_OTHERS


def how_it_ended(status: int) -> str:
    """How the processes that died of a recording, one after the other, ended, in words."""
    if status == -signal.SIGALRM:  # set in preprocess.watch
        return f"the decoder hung: no sound for {SILENT_S} s, twice"
    name = signal.Signals(-status).name if status < 0 else str(status)
    if status in ENDED_BY_OTHERS:
        return f"its worker was ended from outside ({name}), twice: too little memory?"
    return f"the decoder crashed ({name}), twice"


class _Process:
    """One worker process, and the pipe to it."""

    def __init__(self, features: Features, device: str, command: Sequence[str]) -> None:
        self.connection, theirs = Pipe()
        self._at = Whereabouts.create()
        with theirs:
            descriptors = [theirs.fileno(), self._at.descriptor]
            self.process = subprocess.Popen(
                [*command, *map(str, descriptors)],
                pass_fds=descriptors,
                env=os.environ | ENVIRONMENT,
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            )
        self.connection.send((features, device))
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        """Raises BadInput where the process ends before it has begun."""
        try:
            self.connection.recv()  # Ready
        except (EOFError, OSError):
            _, errors = self.process.communicate()
            *_, last = errors.splitlines() or [f"exit status {self.process.returncode}"]
            raise BadInput(f"a worker process cannot start: {last}") from None
        if self.process.stderr:
            self.process.stderr.close()

    def compute(self, job: PartJob) -> Wrote:
        """Have a job done. Raises _Died, and BadInput where the part cannot be written."""
        self._at.put(0)
        try:
            self.connection.send(job)
            message: Wrote | Halted = self.connection.recv()
        except (EOFError, OSError):
            raise _Died(self._at.get(), self.process.wait()) from None
        if isinstance(message, Halted):
            raise BadInput(f"{message.reason}; what was finished is kept, run the same command again to go on")
        return message

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Crew:
    """As many workers as jobs at a time; leaving `with` ends them."""

    def __init__(self, features: Features, n_jobs: int, command: Sequence[str] = WORKER, device: str = "cpu") -> None:
        self.features, self.n_jobs, self.command, self.device = features, n_jobs, command, device
        self._processes: list[_Process] = []
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._closed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for process in self._processes:
            process.stop()

    def compute(self, jobs: Sequence[PartJob]) -> Iterator[Wrote]:
        """Yield what was written, job by job, in the order in which it is done."""
        parallel = Parallel(self.n_jobs, backend="threading", return_as="generator_unordered", batch_size=1)
        try:
            for written in parallel(delayed(self._compute)(job) for job in jobs):
                yield from written
        except BaseException:
            self.__exit__()  # joblib waits for its threads, and they for their processes
            raise

    def _compute(self, job: PartJob) -> list[Wrote]:
        """One part, or more where a recording had to be set apart."""
        try:
            return [self._attempt(job)]
        except _Died as death:
            culprit = job.clips[death.index]
        alone = PartJob(job.part.with_stem(f"{job.part.stem}-{len(job.clips)}"), (culprit,))
        others = tuple(clip for clip in job.clips if clip is not culprit)
        return [self._last_attempt(alone), *(self._compute(PartJob(job.part, others)) if others else [])]

    def _last_attempt(self, alone: PartJob) -> Wrote:
        """Try once more the one recording at which a worker died."""
        (clip,) = alone.clips
        try:
            return self._attempt(alone)
        except _Died as death:
            source = "" if death.by_others else source_stamp(clip.path)
            failure = Failure(clip.clip, clip.path, how_it_ended(death.status), source)
            return Wrote(None, (Ended(0.0, failure),))

    def _attempt(self, job: PartJob) -> Wrote:
        """Have a job done by a process that is idle, or by a new one."""
        process = self._idle_or_new()
        written = process.compute(job)
        self._idle.put(process)
        return written

    def _idle_or_new(self) -> _Process:
        """A process to work with. Raises KeyboardInterrupt once the crew is to end."""
        if self._closed:
            raise KeyboardInterrupt
        with suppress(Empty):
            return self._idle.get_nowait()
        process = _Process(self.features, self.device, self.command)
        self._processes.append(process)
        if self._closed:  # while it started, and perhaps too late to be ended with the others
            process.stop()
            raise KeyboardInterrupt
        return process
