"""The server over HTTP: it says what make predict says, refuses in words, and ends without a trace."""

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import asdict
from http.client import HTTPConnection
from itertools import repeat
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from core.errors import BadInput
from recipe.cli import read_command
from serve.run import add_options, build_service, main
from tests.browsing import until
from tests.predict.conftest import LABELS, Home
from tests.serve.conftest import Served, end, start
from tests.typed import ROOT


def sound_of(home: Home, index: int) -> bytes:
    return Path(home.table["path"].iloc[index]).read_bytes()


def chunks(size: int, n: int) -> Iterator[bytes]:
    yield from repeat(bytes(size), n)


def test_the_server_answers_what_its_service_does(served: Served, home: Home) -> None:
    command = read_command([*home.arguments, "--jobs", "1"], "test", add_options)
    with build_service(command) as service:
        for index in range(len(home.table)):
            said = asyncio.run(service.tag(f"é {index}", Path(home.table["path"].iloc[index])))
            assert served.tag(sound_of(home, index), name=f"é {index}") == (200, json.loads(json.dumps(asdict(said))))
            short = asdict(said) | {"windows": None}
            assert served.tag(sound_of(home, index), name=f"é {index}", windows="false") == (200, short)


def test_the_server_says_who_answers_and_in_which_form(served: Served) -> None:
    status, text = served.get("/about")
    about = json.loads(text)
    assert (status, about["run"], about["labels"]) == (200, "tiny", LABELS)
    assert about["thresholds"] == dict.fromkeys(LABELS, 0.5)
    assert (about["most_mb"], about["most_minutes"]) == (1, 0.25)
    assert set(json.loads(served.get("/openapi.json")[1])["paths"]) == {"/about", "/tag"}
    assert [served.get(path)[0] for path in ("/docs", "/redoc", "/nothing")] == [404, 404, 404]


def test_what_cannot_be_answered_is_refused_in_words(served: Served, home: Home, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.ogg", np.random.default_rng(0).uniform(-0.1, 0.1, 16 * 8_000), 8_000)
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    for (status, answer), expected, words in (
        (served.tag(b""), 400, "no sound in the request: send the recording itself: curl --data-binary @"),
        (served.tag(sound_of(home, 0), form), 415, "a form is not understood"),
        (served.tag(bytes((1 << 20) + 1)), 413, "it is larger than 1 MB"),
        (served.tag(chunks(1 << 16, 17)), 413, "it is larger than 1 MB"),
        (served.tag(b"<html>not found</html>", name="page.wav"), 422, "page.wav cannot be read: "),
        (served.tag(sound_of(home, 0), name="x" * 301), 422, "name: String should have at most 300 characters"),
        (served.tag(sound_of(home, 0), windows="perhaps"), 422, "windows: Input should be a valid boolean"),
        (
            served.tag((tmp_path / "long.ogg").read_bytes(), name="l"),
            422,
            "l cannot be read: it is longer than 0.25",
        ),
    ):
        assert (status, words in answer["detail"]) == (expected, True), answer
        assert tempfile.gettempdir() not in answer["detail"]
    assert served.tag(sound_of(home, 0))[0] == 200


def test_many_at_once_get_their_own_answers_and_more_are_turned_away(served: Served, home: Home) -> None:
    alone = [served.tag(sound_of(home, index)) for index in (8, 9, 10, 11)]
    with ThreadPoolExecutor(4) as askers:
        for _ in range(3):
            assert list(askers.map(lambda index: served.tag(sound_of(home, index)), (8, 9, 10, 11))) == alone
    with ExitStack() as under_way:
        unfinished = [begin(served, sound_of(home, 8), under_way) for _ in range(4)]
        turned_away = until_status(served, sound_of(home, 9), 503)
        assert "4 recordings are under way" in turned_away
        for connection in unfinished[:2]:
            connection.send(sound_of(home, 8)[100:])
            reply = connection.getresponse()
            assert (reply.status, json.loads(reply.read())) == alone[0]
    until_status(served, sound_of(home, 9), 200)  # two were given up in the midst of it: their places are free again


def begin(served: Served, sound: bytes, under_way: ExitStack) -> HTTPConnection:
    """A connection over which the first hundred bytes of a recording have been sent."""
    connection = under_way.enter_context(closing(served.connect()))
    connection.putrequest("POST", "/tag")
    connection.putheader("Content-Length", str(len(sound)))
    connection.endheaders(sound[:100])
    return connection


def until_status(served: Served, sound: bytes, wanted: int) -> str:
    """The text of the first answer that has this status."""
    for _ in range(100):
        status, answer = served.tag(sound)
        if status == wanted:
            return str(answer)
        time.sleep(0.05)
    raise AssertionError(f"no status {wanted}")


def test_a_decoder_that_is_killed_costs_no_answer(served: Served, home: Home) -> None:
    before = served.tag(sound_of(home, 11))
    (decoder,) = psutil.Process(served.process.pid).children()
    decoder.kill()
    assert served.tag(sound_of(home, 11)) == before


def test_a_recording_as_long_as_allowed_is_answered(served: Served, tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for name, n_samples, expected in (("as.flac", 15 * 8_000, 200), ("longer.flac", 15 * 8_000 + 8, 422)):
        soundfile.write(tmp_path / name, random.uniform(-0.1, 0.1, n_samples), 8_000)
        assert served.tag((tmp_path / name).read_bytes())[0] == expected


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_server_that_is_ended_leaves_nothing(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: int
) -> None:
    if signal.getsignal(ending) is signal.SIG_IGN:
        pytest.skip("whoever started the tests has them ignore the end of a terminal")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    served = start(home)
    assert served.tag(sound_of(home, 11), name="a\nb高")[0] == 200
    children = psutil.Process(served.process.pid).children(recursive=True)
    assert children
    assert [path.name[:8] for path in tmp_path.iterdir()] == ["earmark-"]
    assert list(tmp_path.rglob("*/*")) == []
    status, printed = end(served, ending)
    assert status == 0
    heard, ended = printed.splitlines()
    assert heard.startswith(r"'a\nb\u9ad8': 2.0 s of sound, [")
    assert ended == "ended"
    assert not psutil.wait_procs(children, timeout=10)[1]
    assert list(tmp_path.iterdir()) == []


def test_a_server_ends_in_order_though_recordings_are_under_way(home: Home, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.random.default_rng(0).uniform(-0.1, 0.1, 12_000 * 8_000), 8_000)
    served = start(home)
    with ExitStack() as under_way, ThreadPoolExecutor(1) as asker:
        begin(served, sound_of(home, 8), under_way)
        answered = asker.submit(served.tag, (tmp_path / "long.flac").read_bytes())
        until(lambda: psutil.Process(served.process.pid).children())
        status, printed = end(served, signal.SIGINT, signal.SIGINT)
        assert answered.result()[0] == 503
    assert (status, "Traceback" in printed) == (0, False), printed
    assert printed.count("refused, nobody waits for the answer, or the server is ending\n") == 2
    assert printed.endswith("ended\n")


def test_an_answer_that_nobody_waits_for_is_given_up(home: Home, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "long.flac", np.random.default_rng(0).uniform(-0.1, 0.1, 12_000 * 8_000), 8_000)
    sound = (tmp_path / "long.flac").read_bytes()
    served = start(home)
    with ExitStack() as under_way:
        connection = begin(served, sound, under_way)
        connection.send(sound[100:])
        until(lambda: psutil.Process(served.process.pid).children())
    assert until(lambda: "refused, nobody waits for the answer" in "".join(served.printed))
    assert served.tag(sound_of(home, 11))[0] == 200
    assert end(served)[0] == 0


def test_nobody_has_to_read_what_the_server_prints(home: Home) -> None:
    served = start(home, stdout_is_closed=True)
    assert [served.tag(sound_of(home, 11))[0] for _ in range(3)] == [200, 200, 200]
    assert end(served)[0] == 0


def test_a_port_that_is_taken_is_named(served: Served, home: Home) -> None:
    with pytest.raises(BadInput, match=rf"--host 127\.0\.0\.1 --port {served.port}: .*; give another, as"):
        main([*home.arguments, "--port", str(served.port)])
    with pytest.raises(BadInput, match="--port 70000: give one from 1 to 65535"):
        main([*home.arguments, "--port", "70000"])
    with pytest.raises(BadInput, match=r"--host no\.such\.host\.invalid --port 8000: .*; give another"):
        main([*home.arguments, "--host", "no.such.host.invalid"])


def test_make_serve_names_what_is_missing(tmp_path: Path) -> None:
    args = f"ARGS=--cache {tmp_path}/cache --submissions {tmp_path}/submissions"
    ended = subprocess.run(
        ["make", "-o", ".venv/.ready", "serve", f"PY={sys.executable}", "PORT=0", "JOBS=1", args],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 2
    assert f"earmark: {tmp_path}/cache/demo/runs/demo holds no fold*/best.pt: run make train first" in ended.stderr
