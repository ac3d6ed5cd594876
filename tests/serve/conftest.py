"""A server as a user starts one, with the networks of a run in miniature."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.predict.conftest import Home, make_home

ROOT = Path(__file__).parent.parent.parent
LIMITS = ["--most_mb", "1", "--most_minutes", "0.25", "--most_waiting", "4"]


@dataclass(frozen=True)
class Served:
    """A server's process and where it listens."""

    process: subprocess.Popen[str]
    host: str
    port: int

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

    def tag(self, sound: Any, headers: dict[str, str] | None = None, **query: str) -> tuple[int, dict[str, Any]]:
        """Status and answer to a recording; an iterable is sent in chunks, without its length."""
        with closing(self.connect()) as connection:
            connection.request("POST", f"/tag?{urlencode(query)}", sound, headers or {})
            reply = connection.getresponse()
            return reply.status, json.loads(reply.read())


def start(home: Home, *options: str) -> Served:
    """A server of the home's run that is ready."""
    process = subprocess.Popen(
        [sys.executable, "-m", "serve.run", *home.arguments, "--port", "0", "--jobs", "1", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONWARNINGS": "error"},
    )
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if found := re.search(r"http://([\d.]+):(\d+)", line):
            return Served(process, found[1], int(found[2]))
    raise AssertionError(f"the server ended with status {process.wait()}: {''.join(said)}")


def end(served: Served) -> tuple[int, str]:
    """Ctrl-C: its status, and what else it had printed."""
    served.process.send_signal(signal.SIGINT)
    printed, _ = served.process.communicate(timeout=30)
    return served.process.returncode, printed


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    return make_home(tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def served(home: Home) -> Iterator[Served]:
    server = start(home, *LIMITS)
    yield server
    end(server)
