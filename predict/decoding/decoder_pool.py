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

from core.errors import BadInput
from predict.decoding.messages import End, Failed, Message
from preprocess.audio.blocks import DecodeError
from preprocess.build.worker_pool import ENVIRONMENT, SPARING, how_it_ended
from preprocess.store.schema import Stored
from recipe import Features

EAR = (sys.executable, "-m", "predict.decoding.decoder_process")
GIVEN_UP = "the rest of the recording is not heard any more"
BLOCKS_AHEAD = 4
"""Blocks of one recording that wait to be scored."""
RECORDINGS_AHEAD = 4
"""Recordings a process may be ahead by."""
WAIT_S = 0.1
"""How long a thread that is far ahead waits before it looks whether it is still wanted."""


class Hearing:
    """One recording as it is heard. Iterating gives its frames as stored; at the end, where they lie in time."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.end = End(0.0, 0.0)
        self.n_blocks = 0
        """So many have been passed on."""
        self.messages: queue.Queue[Message | Exception] = queue.Queue(BLOCKS_AHEAD)
        self.unwanted = threading.Event()
        self.begun: Future[None] = Future()
        """Done once there is a message, or there will be none: reading then holds nobody up for long."""

    def __iter__(self) -> Iterator[Stored]:
        """Blocks of frames [n_frames, n_bins].

        Raises DecodeError where the recording cannot be read, and BadInput where there is no process to read it, or
        all of them are being ended.
        """
        while True:
            match self._next():
                case End() as end:
                    self.end = end
                    return
                case Failed(reason):
                    raise DecodeError(self.path, reason)
                case Exception() as error:
                    raise error
                case block:
                    yield block

    def abandon(self) -> None:
        """Nobody wants the rest: the process that hears it is ended, and whoever waits for it is told."""
        self.unwanted.set()
        self._begin()

    def _begin(self) -> None:
        with suppress(InvalidStateError):  # begun before
            self.begun.set_result(None)

    def put(self, message: Message | Exception) -> None:
        """Wait for room, but no longer than the message is wanted."""
        while not self.unwanted.is_set():
            try:
                self.messages.put(message, timeout=WAIT_S)
                self._begin()
                return
            except queue.Full:
                continue

    def _next(self) -> Message | Exception:
        """Wait for a message, but no longer than one may come."""
        while not self.unwanted.is_set():
            try:
                return self.messages.get(timeout=WAIT_S)
            except queue.Empty:
                continue
        return BadInput(GIVEN_UP)


class Listener:
    """As many processes as jobs, each driven by a thread; leaving `with` ends them.

    Recordings longer than `longest_s` count as such that cannot be read.
    """

    def __init__(
        self, features: Features, n_jobs: int, command: Sequence[str] = EAR, longest_s: float = math.inf
    ) -> None:
        self.features, self.n_jobs, self.command, self.longest_s = features, n_jobs, command, longest_s
        self._closed = threading.Event()
        self._opening = threading.Lock()
        self._coming: queue.SimpleQueue[Hearing | None] = queue.SimpleQueue()
        self._unfinished: set[Hearing] = set()
        self._ears: list[_Ear] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process, and tell who waits for one; nothing more is heard."""
        with self._opening:
            self._closed.set()
            for hearing in self._unfinished:
                hearing.abandon()
            for ear in self._ears:
                ear.process.kill()
        for _thread in self._threads:
            self._coming.put(None)
        for thread in self._threads:
            thread.join()
        for ear in list(self._ears):
            self._end(ear)

    def listen(self, paths: Iterable[str]) -> Iterator[Hearing]:
        """The recordings in order. Each must be heard to its end before the next one is asked for."""
        ahead: deque[Hearing] = deque()
        for path in paths:
            ahead.append(self.hear(path))
            if len(ahead) == self.n_jobs * (1 + RECORDINGS_AHEAD):
                yield ahead.popleft()
        while ahead:
            yield ahead.popleft()

    def hear(self, path: str) -> Hearing:
        """A recording that is heard from now on, as soon as a process has time. Raises BadInput after the end."""
        hearing = Hearing(str(Path(path).absolute()))  # the processes work in another folder
        with self._opening:
            if self._closed.is_set():
                raise BadInput("no more recordings are to be heard")
            if len(self._threads) < self.n_jobs:
                thread = threading.Thread(target=self._drive, daemon=True)
                thread.start()
                self._threads.append(thread)
            self._unfinished.add(hearing)
            self._coming.put(hearing)
        return hearing

    def _drive(self) -> None:
        """Have recordings heard, one after the other."""
        ear: _Ear | None = None
        while (hearing := self._coming.get()) and not self._closed.is_set():
            if not hearing.unwanted.is_set():
                ear = self._hear(hearing, ear)
            with self._opening:
                self._unfinished.discard(hearing)

    def _hear(self, hearing: Hearing, ear: "_Ear | None") -> "_Ear | None":
        """Have a recording heard by a process or a new one, and where it dies, by another; the one that is left."""
        status = 0
        try:
            for _ in range(2):
                ear = ear or self._new_ear()
                if ear.hear(hearing):
                    return ear
                if hearing.unwanted.is_set():
                    self._end(ear)
                    return None
                status = ear.process.wait()
                self._end(ear)
                ear = None
            hearing.put(Failed(how_it_ended(status)))
        except Exception as error:  # no recording's fault: a thread that ended in silence would be waited for
            if ear in self._ears:
                self._end(ear)
            hearing.put(error)
        return None

    def _new_ear(self) -> "_Ear":
        """Another process, that has started. Raises BadInput where none can, or all are being ended."""
        with self._opening:
            if self._closed.is_set():
                raise BadInput("no more recordings are to be heard")
            ear = _Ear(self.command)
            self._ears.append(ear)
        try:
            ear.start(self.features, self.longest_s)
        except BadInput:
            self._end(ear)
            raise
        return ear

    def _end(self, ear: "_Ear") -> None:
        """End a process, whatever it is doing, and give back what it holds open."""
        ear.process.kill()
        ear.process.wait()
        ear.connection.close()
        with self._opening:
            self._ears.remove(ear)


class _Ear:
    """One process of `predict.decoding.decoder_process`, and the pipe to it."""

    def __init__(self, command: Sequence[str]) -> None:
        """Raises BadInput where the system has no process to spare."""
        try:
            self.connection, theirs = Pipe()
            with theirs:
                self.process = subprocess.Popen(
                    [*command, str(theirs.fileno())],
                    pass_fds=[theirs.fileno()],
                    env=os.environ | ENVIRONMENT,
                    cwd=Path(__file__).parents[2],
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,  # what decoders mutter about damaged files
                )
        except OSError as error:
            raise BadInput(f"a process that decodes cannot start: {error.strerror or error}; {SPARING}") from None

    def start(self, features: Features, longest_s: float) -> None:
        """Wait until it is ready. Raises BadInput where it ends before."""
        try:
            self.connection.send((features, longest_s))
            self.connection.recv()  # Ready
        except (EOFError, OSError):
            status = self.process.wait()
            how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
            raise BadInput(f"a process that decodes cannot start ({how}); {SPARING}") from None

    def hear(self, hearing: Hearing) -> bool:
        """Pass on what the process hears of a recording that nobody has passed on before.

        False where it dies, or has not been heard to the end because nobody wants it.
        """
        try:
            self.connection.send(hearing.path)
            n_blocks = 0
            while not hearing.unwanted.is_set():
                if not self.connection.poll(WAIT_S):
                    continue
                message = self.connection.recv()
                if isinstance(message, End | Failed):
                    hearing.put(message)
                    return True
                n_blocks += 1
                if n_blocks > hearing.n_blocks:  # heard once more, a recording gives the same blocks
                    hearing.n_blocks = n_blocks
                    hearing.put(message)
        except (EOFError, OSError):
            pass
        return False
