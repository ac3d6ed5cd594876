"""Recordings are decoded and turned into frames by processes of their own, ahead of the network that scores them.

A process that dies of a recording costs that recording alone. Memory is bounded: a process that is far ahead waits.
"""

import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from multiprocessing import Pipe
from pathlib import Path
from typing import Self

from predict.hearing import End, Failed, Message
from preprocess.crew import ENVIRONMENT
from preprocess.decode import DecodeError
from preprocess.store import Stored
from recipe import Features

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
        self.messages: queue.Queue[Message] = queue.Queue(BLOCKS_AHEAD)

    def __iter__(self) -> Iterator[Stored]:
        """Blocks of frames [n_frames, n_bins]. Raises DecodeError where the recording cannot be read."""
        while True:
            match self.messages.get():
                case End() as end:
                    self.end = end
                    return
                case Failed(reason):
                    raise DecodeError(self.path, reason)
                case block:
                    yield block


class Listener:
    """As many processes as jobs, each driven by a thread; leaving `with` ends them."""

    def __init__(self, features: Features, n_jobs: int) -> None:
        self.features, self.n_jobs = features, n_jobs
        self._closed = threading.Event()
        self._opening = threading.Lock()
        self._ears: list[_Ear] = []
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._opening:
            self._closed.set()
        for ear in self._ears:
            ear.stop()
        for thread in self._threads:
            thread.join()
        for ear in self._ears:
            ear.connection.close()

    def listen(self, paths: Sequence[str]) -> Iterator[Hearing]:
        """The recordings in order. Each must be heard to its end before the next one is asked for."""
        hearings = [Hearing(path) for path in paths]
        coming = iter(hearings)
        room = threading.Semaphore(self.n_jobs * (1 + RECORDINGS_AHEAD))
        turn = threading.Lock()

        def drive() -> None:
            ear: _Ear | None = None
            while not self._closed.is_set():
                if not room.acquire(timeout=WAIT_S):
                    continue
                with turn:
                    hearing = next(coming, None)
                if hearing is None:
                    return
                ear = ear if ear and ear.alive else self._new_ear()
                if ear:
                    ear.hear(hearing, self._closed)

        self._threads = [threading.Thread(target=drive, daemon=True) for _ in range(min(self.n_jobs, len(paths)))]
        for thread in self._threads:
            thread.start()
        for hearing in hearings:
            yield hearing
            room.release()

    def _new_ear(self) -> "_Ear | None":
        """Another process, unless all are being ended."""
        with self._opening:
            if self._closed.is_set():
                return None
            self._ears.append(_Ear(self.features))
            return self._ears[-1]


class _Ear:
    """One process of `predict.hear`, and the pipe to it."""

    def __init__(self, features: Features) -> None:
        self.connection, theirs = Pipe()
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "predict.hear", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                env=os.environ | ENVIRONMENT,
                cwd=Path(__file__).parent.parent,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # what decoders mutter about damaged files
            )
        self.alive = True
        self.connection.send(features)

    def hear(self, hearing: Hearing, closed: threading.Event) -> None:
        """Pass on what the process hears of a recording, up to its end or the process's."""
        message: Message | None = None
        try:
            self.connection.send(hearing.path)
            while not isinstance(message, End | Failed):
                message = self.connection.recv()
                _put(hearing.messages, message, closed)
        except (EOFError, OSError):
            self.alive = False
            _put(hearing.messages, Failed(f"the decoder {_in_words(self.process.wait())}"), closed)

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self.process.kill()
        self.process.wait()


def _put(messages: "queue.Queue[Message]", message: Message, closed: threading.Event) -> None:
    """Wait for room, but no longer than the message is wanted."""
    while not closed.is_set():
        try:
            messages.put(message, timeout=WAIT_S)
            return
        except queue.Full:
            continue


def _in_words(status: int) -> str:
    """How a process ended. SIGALRM is of a decoder that gave no sound for long."""
    if status == -signal.SIGALRM:
        return "hung"
    return f"crashed ({signal.Signals(-status).name if status < 0 else f'status {status}'})"
