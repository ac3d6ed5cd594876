"""The server over HTTP: it says what make predict says, refuses in words, and ends without a trace."""

import asyncio
import json
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict
from http.client import HTTPConnection
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from core.errors import UserError
from recipe.cli import parse_command
from serve.run import add_options, build_service, main
from tests.browser import wait_until
from tests.forked_python import ForkedPython
from tests.predict.conftest import LABELS, TinyRun
from tests.serve.conftest import RunningServer, end, start

LUMEN = "/lumen/api/processFile/"


def audio_of(tiny_run: TinyRun, index: int) -> bytes:
    return Path(tiny_run.table["path"].iloc[index]).read_bytes()


def chunks(size: int, n: int) -> Iterator[bytes]:
    yield from repeat(bytes(size), n)


def test_the_server_answers_what_its_service_does(server: RunningServer, tiny_run: TinyRun) -> None:
    command = parse_command([*tiny_run.arguments, "--jobs", "1"], "test", add_options)
    with build_service(command) as service:
        for index in range(len(tiny_run.table)):
            response = asyncio.run(service.tag(f"é {index}", Path(tiny_run.table["path"].iloc[index])))
            assert server.tag(audio_of(tiny_run, index), name=f"é {index}") == (
                200,
                json.loads(json.dumps(asdict(response))),
            )
            short = asdict(response) | {"windows": None}
            assert server.tag(audio_of(tiny_run, index), name=f"é {index}", windows="false") == (200, short)


def test_the_server_says_who_answers_and_in_which_form(server: RunningServer) -> None:
    status, text = server.get("/about")
    about = json.loads(text)
    assert (status, about["run"], about["labels"]) == (200, "tiny", LABELS)
    assert about["thresholds"] == dict.fromkeys(LABELS, 0.5)
    assert (about["max_mb"], about["max_minutes"]) == (1, 0.25)
    assert json.loads(server.get("/health")[1]) == {"status": "ok"}
    assert [server.get(path)[0] for path in ("/redoc", "/nothing")] == [404, 404]
    with closing(server.connect()) as connection:
        connection.request("GET", "/", headers={"Accept": "application/json, */*;q=0.5"})
        listed = json.loads(connection.getresponse().read())
    endpoints = {(each["method"], each["path"]): each["answer"] for each in listed["endpoints"]}
    assert set(endpoints) == {("GET", "/about"), ("GET", "/health"), ("POST", "/tag"), ("POST", LUMEN)}
    assert endpoints["GET", "/health"] == "Answers while the server does."
    for accept in ("text/html,application/xhtml+xml,*/*;q=0.8", "*/*", "text/html, application/json"):
        with closing(server.connect()) as connection:
            connection.request("GET", "/", headers={"Accept": accept})
            assert b"<!doctype html>" in connection.getresponse().read()


def test_what_cannot_be_answered_is_refused_in_words(server: RunningServer, tiny_run: TinyRun, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.ogg", np.random.default_rng(0).uniform(-0.1, 0.1, 16 * 8_000), 8_000)
    form = {"Content-Type": "multipart/mixed; boundary=x"}
    for (status, reply), expected, words in (
        (server.tag(b""), 400, "no sound in the request: send the recording itself, as curl --data-binary @"),
        (server.tag(audio_of(tiny_run, 0), form), 415, "send the recording itself"),
        (server.tag(bytes((1 << 20) + 1)), 413, "it is larger than 1 MB"),
        (server.tag(chunks(1 << 16, 17)), 413, "it is larger than 1 MB"),
        (server.tag(b"<html>not found</html>", name="page.wav"), 422, "page.wav cannot be read: "),
        (server.tag(audio_of(tiny_run, 0), name="x" * 301), 422, "name: String should have at most 300 characters"),
        (server.tag(audio_of(tiny_run, 0), windows="perhaps"), 422, "windows: Input should be a valid boolean"),
        (
            server.tag((tmp_path / "long.ogg").read_bytes(), name="l"),
            422,
            "l cannot be read: it is longer than 0.25",
        ),
    ):
        assert (status, words in reply["detail"]) == (expected, True), reply
        assert tempfile.gettempdir() not in reply["detail"]
    assert server.tag(audio_of(tiny_run, 0))[0] == 200


def send_form(server: RunningServer, path: str, *files: tuple[str, bytes]) -> tuple[int, Any]:
    """Status and answer to a form with these files, by name, in its field `file`."""
    parts = [
        f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'.encode() + audio + b"\r\n"
        for name, audio in files
    ]
    with closing(server.connect()) as connection:
        headers = {"Content-Type": "multipart/form-data; boundary=x"}
        connection.request("POST", path, b"".join(parts) + b"--x--\r\n", headers)
        reply = connection.getresponse()
        return reply.status, json.loads(reply.read())


def test_a_form_is_answered_as_its_recordings_are(server: RunningServer, tiny_run: TinyRun) -> None:
    audio = audio_of(tiny_run, 11)
    _, expected = server.tag(audio, name="a.wav")
    assert send_form(server, "/tag", ("a.wav", audio)) == (200, expected)
    assert send_form(server, "/tag?name=b", ("a.wav", audio)) == (200, expected | {"clip": "b"})
    assert send_form(server, "/tag", ("page", b"<html>"))[0] == 422
    refused = {"detail": "name is for one recording, this form has 2: leave it out"}
    assert send_form(server, "/tag?name=b", ("a.wav", audio), ("c.wav", audio)) == (422, refused)
    status, (first, failed, last) = send_form(
        server, "/tag?windows=false", ("a.wav", audio), ("page", b"<html>"), ("c.wav", audio)
    )
    assert (status, first, last) == (200, expected | {"windows": None}, expected | {"windows": None, "clip": "c.wav"})
    assert set(failed) == {"clip", "detail"}
    assert failed["clip"] == "page"
    assert failed["detail"].startswith("page cannot be read: ")


def test_clients_of_the_older_recogniser_get_its_answer(server: RunningServer, tiny_run: TinyRun) -> None:
    audio = audio_of(tiny_run, 11)
    decided = server.tag(audio)[1]["labels"]
    assert send_form(server, LUMEN, ("a.wav", audio)) == (200, {label: int(label in decided) for label in LABELS})
    assert send_form(server, LUMEN, ("a.wav", audio), ("b.wav", audio))[0] == 400
    assert send_form(server, LUMEN, ("page", b"<html>"))[0] == 422


def test_curl_sends_forms_and_files(server: RunningServer, tiny_run: TinyRun) -> None:
    if not shutil.which("curl"):
        pytest.skip("no curl")
    path, url = tiny_run.table["path"].iloc[11], f"{server.url}tag?windows=false"
    for options in (["-F", f"file=@{path}"], ["--data-binary", f"@{path}"], ["--upload-file", path, "-X", "POST"]):
        answered = subprocess.run(["curl", "--silent", *options, url], capture_output=True, check=True).stdout
        assert json.loads(answered)["duration_s"] == 2.0


def test_many_at_once_get_their_own_answers(server: RunningServer, tiny_run: TinyRun) -> None:
    alone = [server.tag(audio_of(tiny_run, index)) for index in (8, 9, 10, 11)]
    with ThreadPoolExecutor(4) as clients:
        for _ in range(3):
            replies = clients.map(lambda index: server.tag(audio_of(tiny_run, index)), (8, 9, 10, 11))
            for (status, reply), (_, expected) in zip(replies, alone, strict=True):
                assert (status, reply["duration_s"]) == (200, expected["duration_s"])
                assert reply["scores"] == pytest.approx(expected["scores"], abs=2e-6)  # in a batch with others


def test_more_recordings_than_places_are_turned_away(tiny_run: TinyRun, long_recording: bytes) -> None:
    server = start(tiny_run, "--max_minutes", "240", "--max_pending", "1")
    with ExitStack() as under_way:
        begin(server, long_recording, under_way).send(long_recording[100:])
        assert "1 recordings are under way" in until_status(server, audio_of(tiny_run, 9), 503)
    until_status(server, audio_of(tiny_run, 9), 200)  # it was given up in the midst of it: its place is free again
    end(server)


def begin(server: RunningServer, audio: bytes, under_way: ExitStack) -> HTTPConnection:
    """A connection over which the first hundred bytes of a recording have been sent."""
    connection = under_way.enter_context(closing(server.connect()))
    connection.putrequest("POST", "/tag")
    connection.putheader("Content-Length", str(len(audio)))
    connection.endheaders(audio[:100])
    return connection


def until_status(server: RunningServer, audio: bytes, wanted: int) -> str:
    """The text of the first answer that has this status."""
    for _ in range(100):
        status, reply = server.tag(audio)
        if status == wanted:
            return str(reply)
        time.sleep(0.05)
    raise AssertionError(f"no status {wanted}")


def test_a_decoder_that_is_killed_costs_no_answer(server: RunningServer, tiny_run: TinyRun) -> None:
    before = server.tag(audio_of(tiny_run, 11))
    decoders = psutil.Process(server.process.pid).children()
    assert decoders
    for decoder in decoders:
        decoder.kill()
    assert server.tag(audio_of(tiny_run, 11)) == before


def test_a_recording_as_long_as_allowed_is_answered(server: RunningServer, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, n_samples, expected in (("as.flac", 15 * 8_000, 200), ("longer.flac", 15 * 8_000 + 8, 422)):
        soundfile.write(tmp_path / name, random.uniform(-0.1, 0.1, n_samples), 8_000)
        assert server.tag((tmp_path / name).read_bytes())[0] == expected


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_is_ended_leaves_nothing(
    tiny_run: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: int
) -> None:
    if signal.getsignal(ending) is signal.SIG_IGN:
        pytest.skip("whoever started the tests has them ignore the end of a terminal")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    server = start(tiny_run, popen=subprocess.Popen if ending == signal.SIGINT else ForkedPython)
    assert server.tag(audio_of(tiny_run, 11), name="a\nb高")[0] == 200
    children = psutil.Process(server.process.pid).children(recursive=True)
    assert children
    assert list(tmp_path.iterdir()) == []
    status, printed = end(server, ending)
    assert status == 0
    tagged, ended = printed.splitlines()
    assert tagged.startswith(r"'a\nb\u9ad8': 2.0 s of sound, [")
    assert ended == "ended"
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert list(tmp_path.iterdir()) == []


def test_a_server_ends_in_order_though_recordings_are_under_way(tiny_run: TinyRun, long_recording: bytes) -> None:
    server = start(tiny_run, "--max_minutes", "240")
    with ExitStack() as under_way, ThreadPoolExecutor(1) as client:
        begin(server, audio_of(tiny_run, 8), under_way)
        future = client.submit(server.tag, long_recording)
        wait_until(lambda: psutil.Process(server.process.pid).children())
        status, printed = end(server, signal.SIGINT, signal.SIGINT)
        assert future.result()[0] == 503
    assert (status, "Traceback" in printed) == (0, False), printed
    assert printed.count("refused, nobody waits for the answer, or the server is ending\n") == 2
    assert printed.endswith("ended\n")


def test_an_answer_that_nobody_waits_for_is_given_up(tiny_run: TinyRun, long_recording: bytes) -> None:
    server = start(tiny_run, "--max_minutes", "240")
    with ExitStack() as under_way:
        connection = begin(server, long_recording, under_way)
        connection.send(long_recording[100:])
        wait_until(lambda: psutil.Process(server.process.pid).children())
    assert wait_until(lambda: "refused, nobody waits for the answer" in "".join(server.printed))
    assert server.tag(audio_of(tiny_run, 11))[0] == 200
    assert end(server)[0] == 0


def test_nobody_has_to_read_what_the_server_prints(tiny_run: TinyRun) -> None:
    server = start(tiny_run, stdout_is_closed=True, popen=subprocess.Popen)
    assert [server.tag(audio_of(tiny_run, 11))[0] for _ in range(3)] == [200, 200, 200]
    assert end(server)[0] == 0


def test_a_port_that_is_taken_is_named(server: RunningServer, tiny_run: TinyRun) -> None:
    with pytest.raises(UserError, match=rf"--host 127\.0\.0\.1 --port {server.port}: .*; give another, as"):
        main([*tiny_run.arguments, "--port", str(server.port)])
    with pytest.raises(UserError, match=r"port(.|\n)*70000(.|\n)*65535"):
        main([*tiny_run.arguments, "--port", "70000"])
    with pytest.raises(UserError, match=r"--host no\.such\.host\.invalid --port 8000: .*; give another"):
        main([*tiny_run.arguments, "--host", "no.such.host.invalid"])


def test_the_port_is_tried_before_networks_are_loaded(server: RunningServer, tmp_path: Path) -> None:
    nothing = ["--cache", str(tmp_path), "--submissions", str(tmp_path), "--port"]
    with pytest.raises(UserError, match=rf"--port {server.port}: "):
        main([*nothing, str(server.port)])
    with pytest.raises(UserError, match="run make train first"):
        main([*nothing, "0"])
