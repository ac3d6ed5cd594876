"""Bodies of requests: bounded, whole, and gone afterwards."""

import asyncio
import resource
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import upload
from serve.places import UploadPlaces
from serve.upload import open_path, receive_files


def request_of(messages: list[dict[str, Any]], headers: dict[str, str] | None = None) -> Request:
    """A request whose body arrives in these messages, and then no more."""
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in coming:
            return message
        await asyncio.sleep(60)
        raise AssertionError("waited for")

    raw_headers = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    return Request({"type": "http", "method": "POST", "headers": raw_headers}, receive)


def chunk(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def keep(request: Request, max_bytes: int) -> list[tuple[str | None, bytes]]:
    """Names and contents of the files that are received, as another process reads them."""
    async with receive_files(request, UploadPlaces(8), max_bytes) as files:
        kept = []
        for each in files:
            with open_path(each.file) as path:
                kept.append((each.filename, path.read_bytes()))
        return kept


def refuse(request: Request, max_bytes: int = 1 << 20) -> HTTPException:
    with pytest.raises(HTTPException) as refused:
        asyncio.run(keep(request, max_bytes))
    return refused.value


@pytest.fixture(autouse=True)
def temporary_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where uploads lie without a name; nothing is left in it."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    yield tmp_path
    assert list(tmp_path.iterdir()) == []


def form_of(*parts: tuple[str, bytes], boundary: str = "x") -> Request:
    """A form of parts, each with the rest of its content disposition, that arrives in small pieces."""
    body = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {disposition}\r\n\r\n".encode() + content + b"\r\n"
        for disposition, content in parts
    )
    body += f"--{boundary}--\r\n".encode()
    size = 7 if len(body) < 1000 else 1 << 16
    pieces = [chunk(body[start : start + size]) for start in range(0, len(body), size)]
    headers = {"content-type": f"Multipart/Form-Data; boundary={boundary}"}
    return request_of([*pieces, chunk(b"", more=False)], headers)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=8), st.integers(0, 40))
def test_a_body_is_kept_whole_or_refused(parts: list[bytes], max_bytes: int) -> None:
    body = b"".join(parts)
    request = request_of([*map(chunk, parts), chunk(b"", more=False)])
    if 0 < len(body) <= max_bytes:
        assert asyncio.run(keep(request, max_bytes)) == [(None, body)]
    else:
        assert refuse(request, max_bytes).status_code == (413 if body else 400)


@pytest.mark.parametrize("on_linux", [True, False])
def test_the_files_of_a_form_are_kept_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, on_linux: bool) -> None:
    if not on_linux:
        monkeypatch.setattr(upload, "OPEN_FILES", tmp_path / "nothing")
    large = bytes(range(256)) * 5_000  # more than is kept in memory
    form = form_of(
        ('name="note"', b"hello"), ('name="file"; filename="\u9ad8.wav"', large), ('name="file"; filename="b"', b"b")
    )
    assert asyncio.run(keep(form, 1 << 21)) == [("\u9ad8.wav", large), ("b", b"b")]


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (form_of(), 400, "a form has its recordings in the field file"),
        (form_of(('name="file"', b"RIFF")), 400, "a form has its recordings in the field file"),
        (form_of(('name="audio"; filename="a.wav"', b"RIFF")), 400, "a form has its recordings in the field file"),
        (form_of(('name="file"; filename="a.wav"', b"")), 400, "there is no sound in a file of the form"),
        (form_of(('filename="a.wav"', b"RIFF")), 400, "the form cannot be read: The Content-Disposition"),
        (form_of(*[('name="file"; filename="a"', b"a")] * 101), 400, "the form cannot be read: Too many files"),
        (form_of(('name="file"; filename="a.wav"', bytes(1 << 20))), 413, "it is larger than 1 MB"),
        (form_of(('name="a"', bytes(1 << 20))), 413, "it is larger than 1 MB"),
    ],
)
def test_a_form_without_recordings_is_refused_in_words(request_: Request, status: int, words: str) -> None:
    refused = refuse(request_)
    assert (refused.status_code, words in refused.detail) == (status, True), refused.detail


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"content-encoding": "gzip"}, 415),
        ({"content-type": "multipart/mixed; boundary=x"}, 415),
        ({"content-type": "multipart/form-data"}, 400),
        ({"content-type": "multipart/form-data; boundary=y"}, 400),
        ({"content-length": "1048577"}, 413),
    ],
)
def test_headers_tell_what_is_not_taken(headers: dict[str, str], status: int) -> None:
    assert refuse(request_of([chunk(b"RIFF", more=False)], headers)).status_code == status


def test_a_sender_who_falls_silent_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SENDER_TIMEOUT_S", 0.05)
    assert refuse(request_of([chunk(b"RIFF")])).detail == "the recording is sent too slowly"
    gone = request_of([chunk(b"RIFF"), {"type": "http.disconnect"}])
    assert refuse(gone).detail == "the recording was not sent to its end"


def test_a_sender_who_trickles_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SENDER_TIMEOUT_S", 0.2)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return chunk(b"x")

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    assert refuse(request, 100).detail == "the recording is sent too slowly"


def test_a_full_disk_is_said() -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        for n_bytes in (10_001, 100_000):  # what overflows as the file is written out, and earlier
            refused = refuse(request_of([chunk(bytes(n_bytes), more=False)]))
            assert (refused.status_code, refused.detail) == (507, "the recording cannot be kept: File too large")
            form = form_of(('name="file"; filename="a"', bytes(n_bytes)))
            assert refuse(form).status_code == 507
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
