"""Processes that compute parts. One that dies or hangs costs its recording alone: the others go on.

A pool of processes falls whole, joblib's too, when one of them dies, and does not tell of what. Here each
thread drives one process over a pipe, knows its clip, and replaces it when it dies.
"""

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from itertools import count
from multiprocessing import Pipe
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from typing import Self

from core.errors import BadInput
from preprocess.audio.watchdog import SILENT_S
from preprocess.build.messages import ClipJob, Ended, Failure, Halted, PartJob, Wrote
from preprocess.build.progress_index import Whereabouts
from preprocess.store.file_identity import stamp_of
from recipe import Features

ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    # glibc: keep freed blocks of a megabyte. Given back and faulted in anew, they doubled the time of log-mel.
    **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(1 << 26)),
}
"""Of a worker: one thread, since each core has a worker of its own."""
WORKER = (sys.executable, "-m", "preprocess.build.worker")
SPARING = "end what else runs, or try fewer --jobs"
WAIT_S = 0.1
"""A thread that waits for longer at once may not hear of Ctrl-C: the system may tell another."""
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
    if status == -signal.SIGALRM:  # set in preprocess.audio.watchdog
        return f"the decoder hung: no sound for {SILENT_S} s, twice"
    name = signal.Signals(-status).name if status < 0 else str(status)
    if status in ENDED_BY_OTHERS:
        return f"its worker was ended from outside ({name}), twice: too little memory?"
    return f"the decoder crashed ({name}), twice"


class _Process:
    """One worker process, and the pipe to it."""

    def __init__(self, features: Features, device: str, command: Sequence[str]) -> None:
        """Raises BadInput where the system has no process to spare, or the process ends before it has begun."""
        self._at = Whereabouts.create()
        try:
            self.connection, theirs = Pipe()
            with theirs:
                descriptors = [theirs.fileno(), self._at.descriptor]
                self.process = subprocess.Popen(
                    [*command, *map(str, descriptors)],
                    pass_fds=descriptors,
                    env=os.environ | ENVIRONMENT,
                    cwd=Path(__file__).parents[2],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    text=True,
                )
        except OSError as error:
            raise BadInput(f"a worker process cannot start: {error.strerror or error}; {SPARING}") from None
        self._start(features, device)

    def _start(self, features: Features, device: str) -> None:
        """Wait until the process is ready. Raises BadInput where it ends before."""
        try:
            self.connection.send((features, device))
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
        """End the process, whatever it is doing, and give back what it holds open."""
        self.process.kill()
        self.process.wait()
        self.connection.close()


class Crew:
    """As many workers as jobs at a time; leaving `with` ends them."""

    def __init__(self, features: Features, n_jobs: int, command: Sequence[str] = WORKER, device: str = "cpu") -> None:
        self.features, self.n_jobs, self.command, self.device = features, n_jobs, command, device
        self._processes: list[_Process] = []
        self._threads = ThreadPoolExecutor(n_jobs)
        self._idle: SimpleQueue[_Process] = SimpleQueue()
        self._closed = False
        self._mark, self._numbers = token_hex(4), count()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed = True
        for process in list(self._processes):
            process.process.kill()
        # Threads close what they read from: its number may be another file's at once.
        self._threads.shutdown(cancel_futures=True)
        for process in list(self._processes):
            self._end(process)

    def compute(self, jobs: Sequence[PartJob]) -> Iterator[Wrote]:
        """Yield what was written, in the order in which it is done; jobs that take long, in several parts."""
        waiting, begun = deque(jobs), set[Future[tuple[Wrote, PartJob | None]]]()
        try:
            while waiting or begun:
                while waiting and len(begun) < 2 * self.n_jobs:  # the next stand ready: no thread waits for us
                    begun.add(self._threads.submit(self._compute, waiting.popleft()))
                done, begun = wait(begun, WAIT_S, FIRST_COMPLETED)
                for future in done:
                    wrote, rest = future.result()
                    waiting.extendleft([rest] if rest else [])  # in its turn: what comes last is short
                    yield wrote
        except BaseException:
            self.__exit__()
            raise

    def _compute(self, job: PartJob) -> tuple[Wrote, PartJob | None]:
        """A job as far as it is done at a time, and what is left of it."""
        try:
            wrote = self._attempt(job)
        except _Died as death:
            culprit = job.clips[death.index]
            others = tuple(clip for clip in job.clips if clip is not culprit)
            return self._last_attempt(self._other_part(job, (culprit,))), replace(job, clips=others) if others else None
        rest = job.clips[len(wrote.ends) :]
        return wrote, self._other_part(job, rest) if rest else None

    def _other_part(self, job: PartJob, clips: tuple[ClipJob, ...]) -> PartJob:
        """Some clips of a job as a part beside its own."""
        return PartJob(job.part.with_name(f"{self._mark}-{next(self._numbers)}.part"), clips)

    def _last_attempt(self, alone: PartJob) -> Wrote:
        """Try once more the one recording at which a worker died."""
        (clip,) = alone.clips
        try:
            return self._attempt(alone)
        except _Died as death:
            source = "" if death.by_others else stamp_of(clip.path)
            failure = Failure(clip.clip, clip.path, how_it_ended(death.status), source)
            return Wrote(None, (Ended(0.0, failure),))

    def _attempt(self, job: PartJob) -> Wrote:
        """Have a job done by a process that is idle, or by a new one."""
        process = self._idle_or_new()
        try:
            written = process.compute(job)
        except _Died:
            self._end(process)
            raise
        self._idle.put(process)
        return written

    def _end(self, process: _Process) -> None:
        process.stop()
        self._processes.remove(process)

    def _idle_or_new(self) -> _Process:
        """A process to work with. Raises KeyboardInterrupt once the crew is to end."""
        if self._closed:
            raise KeyboardInterrupt
        with suppress(Empty):
            return self._idle.get_nowait()
        process = _Process(self.features, self.device, self.command)
        self._processes.append(process)
        if self._closed:  # while it started, and perhaps too late to be ended with the others
            self._end(process)
            raise KeyboardInterrupt
        return process
