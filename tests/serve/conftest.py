"""A server as a user starts one, with the networks of a run in miniature."""

import http.client
import json
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest
import soundfile

from tests.forked_python import ForkedPython
from tests.predict.conftest import TinyRun, make_tiny_run

ROOT = Path(__file__).parent.parent.parent
LIMITS = ["--max_mb", "1", "--max_minutes", "0.25", "--max_pending", "4"]


@dataclass(frozen=True)
class RunningServer:
    """A server's process and where it listens."""

    process: subprocess.Popen[str]
    host: str
    port: int
    reader: threading.Thread
    printed: list[str]
    """Lines after the one that says where it listens."""

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/"

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def get(self, path: str) -> tuple[int, str]:
        """Status and text of a page."""
        with closing(self.connect()) as connection:
            connection.request("GET", path)
            reply = connection.getresponse()
            return reply.status, reply.read().decode("utf-8")

    def tag(self, audio: Any, headers: dict[str, str] | None = None, **query: str) -> tuple[int, dict[str, Any]]:
        """Status and answer to a recording; an iterable is sent in chunks, without its length."""
        with closing(self.connect()) as connection:
            connection.request("POST", f"/tag?{urlencode(query)}", audio, headers or {})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())


def start(
    tiny_run: TinyRun,
    *options: str,
    stdout_is_closed: bool = False,
    max_files: int | None = None,
    popen: type[subprocess.Popen[str]] = ForkedPython,
    module: str = "serve.run",
) -> RunningServer:
    """A server of the run that is ready; nobody reads what it prints from then on where its output is closed."""
    process = popen(
        [sys.executable, "-m", module, *tiny_run.arguments, "--port", "0", "--jobs", "1", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    if max_files:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (max_files, max_files))
    assert process.stdout
    startup_lines: list[str] = []
    printed: list[str] = []
    while not (found := re.search(r"http://([\d.]+):(\d+)", (startup_lines or [""])[-1])):
        startup_lines.append(process.stdout.readline())
        assert startup_lines[-1], f"the server ended with status {process.wait()}: {''.join(startup_lines)}"
    if stdout_is_closed:
        process.stdout.close()
    reader = threading.Thread(target=lambda: None if stdout_is_closed else printed.extend(process.stdout or []))
    reader.start()
    return RunningServer(process, found[1], int(found[2]), reader, printed)


def end(server: RunningServer, *signals: int) -> tuple[int, str]:
    """Ctrl-C, or other signals: its status, and what else it had printed."""
    for number in signals or (signal.SIGINT,):
        server.process.send_signal(number)
        time.sleep(0.3 if len(signals) > 1 else 0)
    status = server.process.wait(timeout=30)
    server.reader.join()
    if server.process.stdout:
        server.process.stdout.close()
    return status, "".join(server.printed)


@pytest.fixture(scope="module")
def tiny_run(tmp_path_factory: pytest.TempPathFactory) -> TinyRun:
    return make_tiny_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="session")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A FLAC file of 77 minutes of the quietest noise: 8 MB, and many seconds to decode and score."""
    path, seconds = tmp_path_factory.mktemp("long") / "long.flac", 77 * 60
    soundfile.write(path, np.random.default_rng(0).integers(-1, 2, seconds * 8_000, dtype=np.int16), 8_000)
    return path.read_bytes()


@pytest.fixture(scope="module")
def server(tiny_run: TinyRun) -> Iterator[RunningServer]:
    running = start(tiny_run, *LIMITS)
    yield running
    end(running)
