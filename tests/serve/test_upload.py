"""Bodies of requests: bounded, whole, and gone afterwards."""

import asyncio
import resource
from pathlib import Path
from typing import Any

import pytest
from fastapi import HTTPException, Request
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serve import upload
from serve.upload import save_upload


def request_of(messages: list[dict[str, Any]]) -> Request:
    """A request whose body arrives in these messages, and then no more."""
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        for message in coming:
            return message
        await asyncio.sleep(60)
        raise AssertionError("waited for")

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def chunk(body: bytes, more: bool = True) -> dict[str, Any]:
    return {"type": "http.request", "body": body, "more_body": more}


async def keep(request: Request, folder: Path, max_bytes: int) -> bytes:
    async with save_upload(request, folder, max_bytes) as path:
        return path.read_bytes()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.lists(st.binary(max_size=8), max_size=8), st.integers(0, 40))
def test_a_body_is_kept_whole_or_refused(tmp_path: Path, parts: list[bytes], max_bytes: int) -> None:
    body = b"".join(parts)
    request = request_of([*map(chunk, parts), chunk(b"", more=False)])
    if 0 < len(body) <= max_bytes:
        assert asyncio.run(keep(request, tmp_path, max_bytes)) == body
    else:
        with pytest.raises(HTTPException) as refused:
            asyncio.run(keep(request, tmp_path, max_bytes))
        assert refused.value.status_code == (413 if body else 400)
    assert list(tmp_path.iterdir()) == []


def test_a_sender_who_falls_silent_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SENDER_TIMEOUT_S", 0.05)
    with pytest.raises(HTTPException, match="the recording is sent too slowly"):
        asyncio.run(keep(request_of([chunk(b"RIFF")]), tmp_path, 100))
    with pytest.raises(HTTPException, match="the recording was not sent to its end"):
        asyncio.run(keep(request_of([chunk(b"RIFF"), {"type": "http.disconnect"}]), tmp_path, 100))
    assert list(tmp_path.iterdir()) == []


def test_a_sender_who_trickles_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "SENDER_TIMEOUT_S", 0.2)

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(0.05)
        return chunk(b"x")

    request = Request({"type": "http", "method": "POST", "headers": []}, receive)
    with pytest.raises(HTTPException, match="the recording is sent too slowly"):
        asyncio.run(keep(request, tmp_path, 100))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_and_nothing_stays_on_it(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        for n_bytes in (10_001, 100_000):  # what overflows as the file is closed, and earlier
            with pytest.raises(HTTPException, match="the recording cannot be kept: File too large") as refused:
                asyncio.run(keep(request_of([chunk(bytes(n_bytes), more=False)]), tmp_path, 1 << 20))
            assert refused.value.status_code == 507
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_was_tidied_away_comes_back(tmp_path: Path) -> None:
    assert asyncio.run(keep(request_of([chunk(b"RIFF", more=False)]), tmp_path / "gone", 100)) == b"RIFF"


def test_a_form_is_known_however_it_is_written(tmp_path: Path) -> None:
    form = [(b"content-type", b"Multipart/Form-Data; boundary=x")]
    with pytest.raises(HTTPException, match="a form is not understood"):
        asyncio.run(keep(Request({"type": "http", "method": "POST", "headers": form}), tmp_path, 100))
