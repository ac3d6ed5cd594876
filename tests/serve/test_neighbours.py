"""A server among clients that are slow, many, silent or hostile: honest requests are answered."""

import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from serve.connections import IDLE_TIMEOUT_S
from tests.browser import wait_until
from tests.predict.conftest import TinyRun
from tests.serve.conftest import LIMITS, RunningServer, end, start


@pytest.fixture(scope="module")
def audio(tiny_run: TinyRun) -> bytes:
    return Path(tiny_run.table["path"].iloc[11]).read_bytes()


def open_socket(server: RunningServer) -> socket.socket:
    return socket.create_connection((server.host, server.port), timeout=30)


def request_head(server: RunningServer, length: int) -> bytes:
    return f"POST /tag HTTP/1.1\r\nHost: {server.host}:{server.port}\r\nContent-Length: {length}\r\n\r\n".encode()


@contextmanager
def trickle(connections: list[socket.socket], pieces: bytes, interval_s: float) -> Iterator[None]:
    """Send the same piece over every connection at intervals until the end of `with`, while the server takes it."""
    ended = threading.Event()

    def send() -> None:
        while not ended.wait(interval_s):
            for connection in connections:
                with suppress(OSError):
                    connection.send(pieces)

    sender = threading.Thread(target=send)
    sender.start()
    try:
        yield
    finally:
        ended.set()
        sender.join()


@pytest.mark.parametrize("n_bytes", [1, 2_750])
def test_slow_senders_keep_nobody_else_waiting(server: RunningServer, audio: bytes, n_bytes: int) -> None:
    """Five times as many as recordings are scored at a time; four pieces a second."""
    with ExitStack() as opened:
        slow = [opened.enter_context(closing(open_socket(server))) for _ in range(20)]
        for each in slow:
            each.sendall(request_head(server, 1_000_000))
        with trickle(slow, bytes(n_bytes), 0.25):
            for _ in range(10):
                began = time.monotonic()
                assert server.tag(audio)[0] == 200
                assert time.monotonic() - began < 10
                time.sleep(0.1)


def test_the_slowest_sender_gives_way_where_there_is_no_place_for_more(tiny_run: TinyRun, audio: bytes) -> None:
    server = start(tiny_run, *LIMITS, max_files=100)
    with ExitStack() as opened:
        slow = [opened.enter_context(closing(open_socket(server))) for _ in range(80)]
        for part in (request_head(server, 1_000_000)[:-2], b"\r\nRIFF"):
            for each in slow:
                with suppress(OSError):
                    each.sendall(part)
        for _ in range(5):
            assert server.tag(audio)[0] == 200
    status, printed = end(server)
    assert status == 0
    assert "Traceback" not in printed


def test_the_head_of_a_request_must_come_in_time(tiny_run: TinyRun) -> None:
    assert IDLE_TIMEOUT_S == 10
    server, received = start(tiny_run, module="tests.serve.run_with_short_timeout"), b""
    with ExitStack() as opened:
        silent, slow, second = (opened.enter_context(closing(open_socket(server))) for _ in range(3))
        second.sendall(f"GET /health HTTP/1.1\r\nHost: {server.host}\r\n\r\n".encode())
        while not received.endswith(b'{"status":"ok"}'):
            received += second.recv(1 << 16)
        began = time.monotonic()
        with trickle([slow, second], b"G", 0.1):
            for each in (silent, slow, second):
                with suppress(ConnectionError):
                    assert each.recv(1) == b""
        assert time.monotonic() - began < 5
    end(server)


def test_idle_connections_at_the_limit_of_open_files_silence_nothing(tiny_run: TinyRun, audio: bytes) -> None:
    server = start(tiny_run, max_files=100)
    with ExitStack() as opened:
        for _ in range(150):
            opened.enter_context(closing(open_socket(server)))
        for _ in range(5):
            assert server.tag(audio)[0] == 200
    status, printed = end(server)
    assert status == 0
    assert len(printed.splitlines()) == 6, printed  # the answers, and the end


def test_a_short_recording_is_answered_beside_ten_minutes_of_silence(
    tiny_run: TinyRun, audio: bytes, tmp_path: Path
) -> None:
    samples = np.zeros(10 * 60 * 8_000, np.float32)
    soundfile.write(tmp_path / "silence.opus", samples, 8_000, format="OGG", subtype="OPUS")
    silence = (tmp_path / "silence.opus").read_bytes()
    server = start(tiny_run)
    answers: list[int] = []
    long = threading.Thread(target=lambda: answers.append(server.tag(silence)[0]))
    long.start()
    wait_until(lambda: psutil.Process(server.process.pid).children())
    took_s, long_began = list[float](), time.monotonic()
    while long.is_alive():
        began = time.monotonic()
        assert server.tag(audio)[0] == 200
        took_s.append(time.monotonic() - began)
    long.join()
    long_took_s = time.monotonic() - long_began
    end(server)
    assert answers == [200]
    assert len(took_s) > 3
    assert max(took_s) < 0.5 * long_took_s


def test_after_kill_9_no_recording_and_no_decoder_is_left(
    tiny_run: TinyRun, long_recording: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = tmp_path / "uploads"
    uploads.mkdir()
    monkeypatch.setenv("TMPDIR", str(uploads))
    server = start(tiny_run, "--max_minutes", "240")
    with ExitStack() as opened:
        for n_bytes in (len(long_recording), 1 << 20):
            connection = opened.enter_context(closing(open_socket(server)))
            connection.sendall(request_head(server, len(long_recording)) + long_recording[:n_bytes])
        wait_until(lambda: psutil.Process(server.process.pid).children())
        time.sleep(0.5)
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children
        end_status, _ = end(server, signal.SIGKILL)
    assert end_status == -signal.SIGKILL
    assert not psutil.wait_procs(children, timeout=3)[1]
    assert list(uploads.rglob("*")) == []
