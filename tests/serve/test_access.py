"""Names of the server, pages of other origins, and the headers of every response."""

import socket
from contextlib import closing
from pathlib import Path

import pytest
from starlette.datastructures import Headers

from core.errors import UserError
from serve.access import AccessRules, normalize_origin
from serve.run import main
from tests.predict.conftest import TinyRun
from tests.serve.conftest import RunningServer, end, start


@pytest.mark.parametrize(
    ("listens_at", "host", "status"),
    [
        ("127.0.0.1", "localhost:8000", None),
        ("127.0.0.1", "LOCALHOST", None),
        ("127.0.0.1", "127.0.0.1:8000", None),
        ("127.0.0.1", "[::1]:8000", None),
        ("127.0.0.1", "evil.example:8000", 400),
        ("127.0.0.1", "localhost.evil.example", 400),
        ("127.0.0.1", "127.0.0.1.evil.example", 400),
        ("127.0.0.1", "evil@localhost.example", 400),
        ("127.0.0.1", "192.168.1.5", 400),
        ("127.0.0.1", "", 400),
        ("127.0.0.1", "[::1", 400),
        ("192.168.1.5", "192.168.1.5:8000", None),
        ("tags.example", "Tags.example:8000", None),
        ("0.0.0.0", "192.168.1.5:8000", None),
        ("::", "[fe80::1]:8000", None),
        ("0.0.0.0", "this-machine:8000", None),
        ("0.0.0.0", "evil.example", 400),
        ("127.0.0.1", "this-machine", 400),
        ("127.0.0.1", "allowed.example:8000", None),
    ],
)
def test_a_request_names_this_server(
    monkeypatch: pytest.MonkeyPatch, listens_at: str, host: str, status: int | None
) -> None:
    monkeypatch.setattr(socket, "gethostname", lambda: "This-Machine")
    rules = AccessRules(listens_at, ["https://allowed.example"])
    refusal = rules.find_refusal(Headers({"host": host}))
    assert (refusal and refusal[0]) == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("http://localhost:8000", None),
        ("https://localhost:8000", None),  # by a proxy
        ("https://allowed.example", None),
        ("https://allowed.example:444", 403),
        ("http://allowed.example", 403),
        ("http://localhost:3000", 403),
        ("http://evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[", 403),
    ],
)
def test_pages_of_other_origins_may_not_ask(origin: str, status: int | None) -> None:
    rules = AccessRules("127.0.0.1", ["https://allowed.example"])
    refusal = rules.find_refusal(Headers({"host": "localhost:8000", "origin": origin}))
    assert (refusal and refusal[0]) == status


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://Example.org", "https://example.org"),
        ("https://example.org:443", "https://example.org"),
        ("http://example.org:80", "http://example.org"),
        ("http://example.org:443", "http://example.org:443"),
        ("http://[::1]:3000", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_that_which_browsers_send(given: str, sent: str) -> None:
    rules = AccessRules("127.0.0.1", [normalize_origin(given)])
    assert rules.allowed_origins == [sent]
    assert rules.find_refusal(Headers({"host": "localhost:8000", "origin": sent})) is None


def ask(server: RunningServer, method: str, path: str, headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
    with closing(server.connect()) as connection:
        connection.request(method, path, headers=headers)
        reply = connection.getresponse()
        return reply.status, {name.lower(): value for name, value in reply.getheaders()}, reply.read()


def test_no_answer_is_for_other_pages(server: RunningServer) -> None:
    for path, headers, expected in (
        ("/", {}, 200),
        ("/about", {}, 200),
        ("/docs", {}, 200),
        ("/nothing", {}, 404),
        ("/about", {"Origin": "http://evil.example"}, 403),
        ("/about", {"Host": "evil.example"}, 400),
    ):
        status, answered, body = ask(server, "GET", path, headers)
        assert status == expected
        assert (answered["x-content-type-options"], answered["cache-control"]) == ("nosniff", "no-store")
        assert "frame-ancestors 'none'" in answered["content-security-policy"]
        assert "access-control-allow-origin" not in answered
        if expected in (400, 403):
            assert b"labels" not in body
    assert ask(server, "POST", "/tag", {"Origin": "http://evil.example"})[0] == 403
    preflight = {"Origin": "http://evil.example", "Access-Control-Request-Method": "POST"}
    assert ask(server, "OPTIONS", "/tag", preflight)[0] == 403


def test_a_page_that_is_allowed_reads_answers(tiny_run: TinyRun) -> None:
    origins = ["http://localhost:3000", "https://tags.example"]
    server = start(tiny_run, *(part for origin in origins for part in ("--allow_origin", origin)))
    for origin in origins:
        asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
        status, answered, _ = ask(server, "OPTIONS", "/tag", {"Origin": origin} | asked)
        assert (status, answered["access-control-allow-origin"]) == (200, origin)
        assert "POST" in answered["access-control-allow-methods"]
        assert "content-type" in answered["access-control-allow-headers"].lower()
        status, answered, body = ask(server, "GET", "/about", {"Origin": origin})
        assert (status, answered["access-control-allow-origin"], b"labels" in body) == (200, origin, True)
    status, answered, _ = ask(server, "GET", "/about", {"Origin": "http://localhost:3001"})
    assert (status, "access-control-allow-origin" in answered) == (403, False)
    end(server)


def test_names_of_recordings_forge_no_line_of_the_log(tiny_run: TinyRun) -> None:
    server = start(tiny_run)
    audio = Path(tiny_run.table["path"].iloc[11]).read_bytes()
    name = "a\nforged: 9.9 s of sound\r\u2028\x1b[2J"
    assert server.tag(b"no sound", name=name)[0] == 422
    assert server.tag(b"", name=name)[0] == 400
    assert server.tag(audio, name=name)[0] == 200
    form = f'--x\r\nContent-Disposition: form-data; name="file"; filename="{name[:1]}\u2028b"\r\n\r\nRIFF\r\n--x--\r\n'
    assert server.tag(form.encode(), {"Content-Type": "multipart/form-data; boundary=x"})[0] == 422
    status, printed = end(server)
    assert status == 0
    lines = printed.splitlines()
    assert len(lines) == 5, printed
    assert all(line.startswith(("'a\\n", "None: refused, a\\u2028b cannot be read")) for line in lines[:4]), printed
    assert lines[4] == "ended"


@pytest.mark.parametrize(
    "origin",
    [
        "*",
        "example.org",
        "https://example.org/",
        "file://x",
        "https://a@b",
        "https://[::1",
        "https://a:b",
        "https://:80",
    ],
)
def test_an_origin_that_is_none_is_refused(tiny_run: TinyRun, origin: str) -> None:
    with pytest.raises(UserError, match="allow_origin"):
        main([*tiny_run.arguments, "--allow_origin", origin])
