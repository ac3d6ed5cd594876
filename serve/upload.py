"""The recordings in the body of a request, raw or as a form, as unnamed files: bounded in size and in time."""

import asyncio
import os
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

from fastapi import HTTPException, Request
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from serve.places import Upload, UploadPlaces

SENDER_TIMEOUT_S = 30.0
"""Longest silence of a sender."""
MIN_BYTES_PER_S = 10_000
"""A sender who is slower on the whole has SENDER_TIMEOUT_S more."""
MAX_FORM_FILES = 100
UPLOAD_HINT = (
    "send the recording itself, as curl --data-binary @recording.wav, or a form, as curl -F file=@recording.wav"
)
OPEN_FILES = Path("/proc") / str(os.getpid()) / "fd"


@asynccontextmanager
async def receive_files(
    request: Request, places: UploadPlaces, max_bytes: int, max_files: int = MAX_FORM_FILES
) -> AsyncIterator[list[UploadFile]]:
    """The files that a request sends, until the end of `with`; kill -9 leaves none.

    Raises HTTPException where there is none or too many, for a body of more than `max_bytes`, and where it does not
    arrive.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if request.headers.get("content-encoding", "identity") != "identity" or (
        kind.startswith("multipart/") and kind != "multipart/form-data"
    ):
        raise HTTPException(415, UPLOAD_HINT)
    if int(request.headers.get("content-length", 0)) > max_bytes:
        raise _too_large(max_bytes)
    files: list[UploadFile] = []
    try:
        try:
            async with places.take(request.client.host if request.client else "") as upload:
                body = _read_body(request, upload, max_bytes)
                files = await (
                    _read_form(request, body, max_files) if kind == "multipart/form-data" else _read_file(body)
                )
        except TimeoutError:
            raise HTTPException(408, "the recording is sent too slowly") from None
        except ClientDisconnect:
            raise HTTPException(400, "the recording was not sent to its end") from None
        except MultiPartException as error:
            raise HTTPException(400, f"the form cannot be read: {error.message}") from None
        except OSError as error:
            raise HTTPException(507, f"the recording cannot be kept: {error.strerror or error}") from None
        yield files
    finally:
        for each in files:
            with suppress(OSError):  # of a full disk
                each.file.close()


async def _read_body(request: Request, upload: Upload, max_bytes: int) -> AsyncGenerator[bytes, None]:
    """Yield a body in chunks. Raises TimeoutError, HTTPException and ClientDisconnect."""
    chunks = request.stream()
    while True:
        async with asyncio.timeout(SENDER_TIMEOUT_S - max(upload.late_s(MIN_BYTES_PER_S), 0)):
            chunk = await anext(chunks, None)
        if chunk is None:
            return
        upload.n_bytes += len(chunk)
        if upload.n_bytes > max_bytes:  # whatever the header said
            raise _too_large(max_bytes)
        yield chunk


async def _read_file(body: AsyncIterator[bytes]) -> list[UploadFile]:
    """A raw body as one file."""
    file = TemporaryFile()  # noqa: SIM115
    try:
        async for chunk in body:
            file.write(chunk)
        file.flush()
        if not file.tell():
            raise HTTPException(400, f"there is no sound in the request: {UPLOAD_HINT}")
    except BaseException:
        with suppress(OSError):  # of a full disk
            file.close()
        raise
    return [UploadFile(file)]


async def _read_form(request: Request, body: AsyncGenerator[bytes, None], max_files: int) -> list[UploadFile]:
    """The files of a form's field `file`, on the disk."""
    form = await MultiPartParser(request.headers, body, max_files=max_files).parse()
    try:
        files = _select_files(form)
        for each in files:
            each.file.fileno()  # moves it from memory to the disk
            each.file.flush()
    except BaseException:
        await form.close()
        raise
    return files


def _select_files(form: FormData) -> list[UploadFile]:
    files = [(field, each) for field, each in form.multi_items() if isinstance(each, UploadFile)]
    if not files or any(field != "file" for field, _ in files):
        raise HTTPException(400, f"a form has its recordings in the field file: {UPLOAD_HINT}")
    if not all(each.size for _, each in files):
        raise HTTPException(400, "there is no sound in a file of the form")
    return [each for _, each in files]


def _too_large(max_bytes: int) -> HTTPException:
    return HTTPException(413, f"it is larger than {max_bytes / 2**20:g} MB")


@contextmanager
def open_path(file: IO[bytes]) -> Iterator[Path]:
    """Where other processes can open a file that was received."""
    if OPEN_FILES.is_dir():
        yield OPEN_FILES / str(file.fileno())
    else:  # not on Linux: under a name, which kill -9 leaves
        with NamedTemporaryFile(prefix="earmark-") as named:
            file.seek(0)
            shutil.copyfileobj(file, named)
            named.flush()
            yield Path(named.name)
