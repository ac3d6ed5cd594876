"""Recordings are decoded and turned into frames by processes of their own, ahead of the network that scores them.

A process that dies of a recording is replaced, and the recording heard once more: it may have been ended from outside.
Where the second dies as well, that costs the recording alone. Memory is bounded: a process that is far ahead waits.
"""

import math
import os
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from multiprocessing import Pipe
from pathlib import Path
from typing import Self

from core.errors import UserError
from predict.decoding.decoder_process import SILENT_S
from predict.decoding.messages import DecoderMessage, DecodingFailed, DecodingFinished
from preprocess.audio.blocks import DecodeError
from preprocess.store.schema import EncodedFrames
from recipe import Features

DECODER_COMMAND = (sys.executable, "-m", "predict.decoding.decoder_process")
CANCELLED = "decoding was cancelled"
BLOCKS_AHEAD = 4
"""Blocks of one recording that wait to be scored."""
RECORDINGS_AHEAD = 4
"""Recordings a process may be ahead by."""
POLL_S = 0.1
"""How long a thread that is far ahead waits before it looks whether it is still wanted."""
WORKER_ENVIRONMENT = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"),
    # glibc: keep freed blocks of a megabyte. Given back and faulted in anew, they doubled the time of log-mel.
    **dict.fromkeys(("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"), str(1 << 26)),
}
CANNOT_START_ADVICE = "end what else runs, or try fewer --jobs"


def describe_exit(status: int) -> str:
    """How the processes that died of a recording, one after the other, ended, in words."""
    if status == -signal.SIGALRM:  # set in decoder_process
        return f"the decoder hung: no sound for {SILENT_S} s, twice"
    name = signal.Signals(-status).name if status < 0 else str(status)
    if status in (-signal.SIGKILL, -signal.SIGTERM):
        return f"its worker was ended from outside ({name}), twice: too little memory?"
    return f"the decoder crashed ({name}), twice"


class DecodingJob:
    """One recording as it is heard. Iterating gives its frames as stored; at the end, where they lie in time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.end = DecodingFinished(0.0, 0.0)
        self.n_blocks = 0
        """So many have been passed on."""
        self.messages: queue.Queue[DecoderMessage | Exception] = queue.Queue(BLOCKS_AHEAD)
        self.cancelled = threading.Event()
        self.started: Future[None] = Future()
        """Done once there is a message, or there will be none: reading then holds nobody up for long."""

    def __iter__(self) -> Iterator[EncodedFrames]:
        """Blocks of frames [n_frames, n_bins].

        Raises DecodeError where the recording cannot be read, and UserError where there is no process to read it, or
        all of them are being ended.
        """
        while True:
            match self._next():
                case DecodingFinished() as end:
                    self.end = end
                    return
                case DecodingFailed(reason):
                    raise DecodeError(self.path, reason)
                case Exception() as error:
                    raise error
                case block:
                    yield block

    def cancel(self) -> None:
        """Nobody wants the rest: the process that hears it is ended, and whoever waits for it is told."""
        self.cancelled.set()
        self._mark_started()

    def _mark_started(self) -> None:
        with suppress(InvalidStateError):  # begun before
            self.started.set_result(None)

    def put(self, message: DecoderMessage | Exception) -> None:
        """Wait for room, but no longer than the message is wanted."""
        while not self.cancelled.is_set():
            try:
                self.messages.put(message, timeout=POLL_S)
                self._mark_started()
                return
            except queue.Full:
                continue

    def _next(self) -> DecoderMessage | Exception:
        """Wait for a message, but no longer than one may come."""
        while not self.cancelled.is_set():
            try:
                return self.messages.get(timeout=POLL_S)
            except queue.Empty:
                continue
        return UserError(CANCELLED)


class DecoderPool:
    """As many processes as jobs, each driven by a thread; leaving `with` ends them.

    Recordings longer than `max_duration_s` count as such that cannot be read.
    """

    def __init__(
        self,
        features: Features,
        n_jobs: int,
        command: Sequence[str] = DECODER_COMMAND,
        max_duration_s: float = math.inf,
    ) -> None:
        self.features, self.n_jobs, self.command, self.max_duration_s = features, n_jobs, command, max_duration_s
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._pending: queue.SimpleQueue[DecodingJob | None] = queue.SimpleQueue()
        self._active_jobs: set[DecodingJob] = set()
        self._processes: list[_DecoderProcess] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process, and tell who waits for one; nothing more is heard."""
        with self._lock:
            self._closed.set()
            for job in self._active_jobs:
                job.cancel()
            for decoder in self._processes:
                decoder.process.kill()
        for _thread in self._threads:
            self._pending.put(None)
        for thread in self._threads:
            thread.join()
        for decoder in list(self._processes):
            self._stop_decoder(decoder)

    def decode_in_order(self, paths: Iterable[str]) -> Iterator[DecodingJob]:
        """The recordings in order. Each must be heard to its end before the next one is asked for."""
        ahead: deque[DecodingJob] = deque()
        for path in paths:
            ahead.append(self.submit(path))
            if len(ahead) == self.n_jobs * (1 + RECORDINGS_AHEAD):
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()

    def submit(self, path: str) -> DecodingJob:
        """A recording that is heard from now on, as soon as a process has time. Raises UserError after the end."""
        job = DecodingJob(str(Path(path).absolute()))  # the processes work in another folder
        with self._lock:
            if self._closed.is_set():
                raise UserError("no more recordings are to be heard")
            if len(self._threads) < self.n_jobs:
                thread = threading.Thread(target=self._run_thread, daemon=True)
                thread.start()
                self._threads.append(thread)
            self._active_jobs.add(job)
            self._pending.put(job)
        return job

    def _run_thread(self) -> None:
        """Have recordings heard, one after the other."""
        decoder: _DecoderProcess | None = None
        while (job := self._pending.get()) and not self._closed.is_set():
            if not job.cancelled.is_set():
                decoder = self._decode(job, decoder)
            with self._lock:
                self._active_jobs.discard(job)

    def _decode(self, job: DecodingJob, decoder: "_DecoderProcess | None") -> "_DecoderProcess | None":
        """Have a recording heard by a process or a new one, and where it dies, by another; the one that is left."""
        status = 0
        try:
            for _ in range(2):
                decoder = decoder or self._start_decoder()
                if decoder.decode(job):
                    return decoder
                if job.cancelled.is_set():
                    self._stop_decoder(decoder)
                    return None
                status = decoder.process.wait()
                self._stop_decoder(decoder)
                decoder = None
            job.put(DecodingFailed(describe_exit(status)))
        except Exception as error:  # no recording's fault: a thread that ended in silence would be waited for
            if decoder in self._processes:
                self._stop_decoder(decoder)
            job.put(error)
        return None

    def _start_decoder(self) -> "_DecoderProcess":
        """Another process, that has started. Raises UserError where none can, or all are being ended."""
        with self._lock:
            if self._closed.is_set():
                raise UserError("no more recordings are to be heard")
            decoder = _DecoderProcess(self.command)
            self._processes.append(decoder)
        try:
            decoder.start(self.features, self.max_duration_s)
        except UserError:
            self._stop_decoder(decoder)
            raise
        return decoder

    def _stop_decoder(self, decoder: "_DecoderProcess") -> None:
        """End a process, whatever it is doing, and give back what it holds open."""
        decoder.process.kill()
        decoder.process.wait()
        decoder.connection.close()
        with self._lock:
            self._processes.remove(decoder)


class _DecoderProcess:
    """One process of `predict.decoding.decoder_process`, and the pipe to it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises UserError where the system has no process to spare."""
        try:
            self.connection, theirs = Pipe()
            with theirs:
                self.process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=os.environ | WORKER_ENVIRONMENT,
                    cwd=Path(__file__).parents[2],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # what decoders mutter about damaged files
                )
        except OSError as error:
            raise UserError(
                f"a process that decodes cannot start: {error.strerror or error}; {CANNOT_START_ADVICE}"
            ) from None

    def start(self, features: Features, max_duration_s: float) -> None:
        """Wait until it is ready. Raises UserError where it ends before."""
        try:
            self.connection.send((features, max_duration_s))
            self.connection.recv()  # DecoderReady
        except (EOFError, OSError):
            status = self.process.wait()
            how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            raise UserError(f"a process that decodes cannot start ({how}); {CANNOT_START_ADVICE}") from None

    def decode(self, job: DecodingJob) -> bool:
        """Pass on what the process hears of a recording that nobody has passed on before.

        False where it dies, or has not been heard to the end because nobody wants it.
        """
        try:
            self.connection.send(job.path)
            n_blocks = 0
            while not job.cancelled.is_set():
                if not self.connection.poll(POLL_S):
                    continue
                message = self.connection.recv()
                if isinstance(message, DecodingFinished | DecodingFailed):
                    job.put(message)
                    return True
                n_blocks += 1
                if n_blocks > job.n_blocks:  # heard once more, a recording gives the same blocks
                    job.n_blocks = n_blocks
                    job.put(message)
        except (EOFError, OSError):
            pass
        return False
