"""The body of a request as a file, no larger than it may be, and gone afterwards."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from fastapi import HTTPException, Request
from starlette.requests import ClientDisconnect

PATIENCE_S = 30.0
"""How long a sender may be silent."""
HOW = "send the recording itself: curl --data-binary @recording.wav"


@asynccontextmanager
async def received(request: Request, folder: Path, most_bytes: int) -> AsyncIterator[Path]:
    """A recording that is sent, as a file in `folder` until the end of `with`.

    Raises HTTPException where it is empty, in a form, larger than `most_bytes`, or does not arrive.
    """
    if request.headers.get("content-type", "").startswith("multipart/"):
        raise HTTPException(415, f"a form is not understood: {HOW}")
    if int(request.headers.get("content-length", 0)) > most_bytes:
        raise _too_large(most_bytes)
    with ExitStack() as kept:
        try:
            file = kept.enter_context(NamedTemporaryFile(dir=folder))
            n_bytes = await _fill(file, request, most_bytes)
        except TimeoutError:
            raise HTTPException(408, f"nothing more was sent for {PATIENCE_S:g} seconds") from None
        except ClientDisconnect:
            raise HTTPException(400, "the recording was not sent to its end") from None
        except OSError as error:
            raise HTTPException(507, f"the recording cannot be kept: {error.strerror or error}") from None
        if not n_bytes:
            raise HTTPException(400, f"there is no sound in the request: {HOW}")
        yield Path(file.name)


async def _fill(file: IO[bytes], request: Request, most_bytes: int) -> int:
    """Write a request's body to a file; how many bytes that were. Raises TimeoutError, and as `received` does."""
    n_bytes = 0
    chunks = request.stream()
    while True:
        async with asyncio.timeout(PATIENCE_S):
            chunk = await anext(chunks, None)
        if chunk is None:
            file.flush()
            return n_bytes
        n_bytes += len(chunk)
        if n_bytes > most_bytes:  # whatever the header said, or did not say
            raise _too_large(most_bytes)
        file.write(chunk)


def _too_large(most_bytes: int) -> HTTPException:
    return HTTPException(413, f"it is larger than {most_bytes / 2**20:g} MB")
