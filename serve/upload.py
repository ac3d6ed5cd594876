"""The body of a request as a file, no larger than it may be, and gone afterwards."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from secrets import token_hex
from typing import IO

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

SENDER_TIMEOUT_S = 30.0
"""Longest silence of a sender."""
MIN_BYTES_PER_S = 10_000
"""A sender who is slower on the whole has SENDER_TIMEOUT_S more."""
UPLOAD_HINT = "send the recording itself: curl --data-binary @recording.wav"


@asynccontextmanager
async def save_upload(request: Request, folder: Path, max_bytes: int) -> AsyncIterator[Path]:
    """The body of a request as a file in `folder`, until the end of `with`.

    Raises HTTPException where it is empty, a form, larger than `max_bytes`, or does not arrive.
    """
    if request.headers.get("content-type", "").lower().startswith("multipart/"):
        raise HTTPException(415, f"a form is not understood: {UPLOAD_HINT}")
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(max_bytes)
    path = folder / token_hex(16)
    try:
        try:
            path.parent.mkdir(mode=0o700, exist_ok=True)  # programs that tidy temporary folders remove empty ones
            with path.open("xb") as file:
                n_bytes = await _copy_stream(file, request, max_bytes)
        except TimeoutError:
            raise HTTPException(408, "the recording is sent too slowly") from None
        except ClientDisconnect:
            raise HTTPException(400, "the recording was not sent to its end") from None
        except OSError as error:
            raise HTTPException(507, f"the recording cannot be kept: {error.strerror or error}") from None
        if not n_bytes:
            raise HTTPException(400, f"there is no sound in the request: {UPLOAD_HINT}")
        yield path
    finally:
        path.unlink(missing_ok=True)


async def _copy_stream(file: IO[bytes], request: Request, max_bytes: int) -> int:
    """Write a request's body to a file; returns its number of bytes. Raises TimeoutError, and as `save_upload` does."""
    n_bytes, started_s = 0, time.monotonic()
    chunks = request.stream()
    while True:
        late_s = time.monotonic() - started_s - n_bytes / MIN_BYTES_PER_S
        async with asyncio.timeout(SENDER_TIMEOUT_S - max(late_s, 0)):
            chunk = await anext(chunks, None)
        if chunk is None:
            return n_bytes
        n_bytes += len(chunk)
        if n_bytes > max_bytes:  # whatever the header said
            raise _too_large(max_bytes)
        file.write(chunk)


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"it is larger than {max_bytes / 2**20:g} MB")
