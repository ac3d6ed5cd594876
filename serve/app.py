"""The page and the API of `make serve`: requests, responses and refusals."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.datastructures import UploadFile
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware

from core.errors import UserError, is_out_of_memory
from preprocess.audio.blocks import DecodeError
from report.html_pages import render_page
from serve.access import AccessMiddleware, AccessRules
from serve.inference_service import InferenceService, TagResponse
from serve.places import ScoringPlaces, UploadPlaces
from serve.schema import (
    ANY_REFUSALS,
    BINARY,
    FILES,
    UPLOAD_REFUSALS,
    FailedRecording,
    Health,
    ServerInfo,
    TagResponses,
    describe_body,
)
from serve.upload import MAX_FORM_FILES, open_path, receive_files

LOGGER = logging.getLogger("serve")
TEMPLATE = Path(__file__).parent / "templates" / "page.html.j2"
DISCONNECT_POLL_S = 1.0
"""Seconds between looks whether the client still waits."""


class Tagging:
    """Has the recordings of requests tagged, of at most `max_bytes` a request.

    At a time it takes in `max_uploads` requests, and has `max_pending` recordings decoded and scored.
    """

    def __init__(self, service: InferenceService, max_bytes: int, max_uploads: int, max_pending: int) -> None:
        self.service, self.max_bytes = service, max_bytes
        self._uploads, self._scoring = UploadPlaces(max_uploads), ScoringPlaces(max_pending)

    async def tag(
        self, request: Request, name: str | None = None, max_files: int = MAX_FORM_FILES
    ) -> list[TagResponse | FailedRecording]:
        """The answers to the recordings of a request. Raises HTTPException for all, and for the only one."""
        peer = request.client.host if request.client else ""
        try:
            self._scoring.check(peer)
            with _refusals(name or ""):
                async with receive_files(request, self._uploads, self.max_bytes, max_files) as files:
                    if name and len(files) > 1:
                        raise HTTPException(422, f"name is for one recording, this form has {len(files)}: leave it out")
                    if len(files) == 1:
                        return [await self._tag_file(request, peer, name or files[0].filename or "recording", files[0])]
                    return [await self._try_file(request, peer, file) for file in files]
        except HTTPException as refusal:
            LOGGER.info("%r: refused, %s", name, refusal.detail)
            raise

    async def _try_file(self, request: Request, peer: str, file: UploadFile) -> TagResponse | FailedRecording:
        """The answer to one recording of several."""
        name = file.filename or "recording"
        try:
            return await self._tag_file(request, peer, name, file)
        except HTTPException as refusal:
            LOGGER.info("%r: refused, %s", name, refusal.detail)
            return FailedRecording(name, refusal.detail)

    async def _tag_file(self, request: Request, peer: str, name: str, file: UploadFile) -> TagResponse:
        started_s = time.monotonic()

        async def score() -> TagResponse:
            async with self._scoring.take(peer):
                with open_path(file.file) as path:
                    return await self.service.tag(name, path)

        with _refusals(name):
            tagged = await _cancel_on_disconnect(score(), request)
        took_s = time.monotonic() - started_s
        LOGGER.info("%r: %.1f s of sound, %s, in %.2f s", name, tagged.duration_s, tagged.labels, took_s)
        return tagged


def build_app(tagging: Tagging, info: ServerInfo, rules: AccessRules) -> FastAPI:
    """The application whose requests `tagging` answers, and whose run and limits `info` describes."""
    page = render_page(TEMPLATE, server_info=info)
    cors: dict[str, Any] = {
        "allow_origins": rules.allowed_origins,
        "allow_methods": ["GET", "POST"],
        "allow_headers": ["*"],
    }
    app = FastAPIOffline(
        title="Earmark",
        description=f"Labels for recordings, by run {info.run}.",
        redoc_url=None,
        middleware=[Middleware(AccessMiddleware, rules=rules), Middleware(CORSMiddleware, **cors)],
        responses=ANY_REFUSALS,
    )

    app.exception_handler(RequestValidationError)(_reject_invalid)

    @app.get("/", include_in_schema=False)
    def get_page(request: Request) -> Response:
        if _prefers_json(request.headers.get("accept", "")):
            return JSONResponse(_list_endpoints(app))
        return HTMLResponse(page)

    @app.get("/about")
    async def get_about() -> ServerInfo:
        """The run, its labels and their thresholds, and the limits of a request."""
        return info

    @app.get("/health")
    async def get_health() -> Health:
        """Answers while the server does."""
        return Health()

    @app.post("/tag", openapi_extra=describe_body(FILES), responses=UPLOAD_REFUSALS)
    async def tag(
        request: Request, name: Annotated[str | None, Query(max_length=300)] = None, windows: bool = True
    ) -> TagResponses:
        """The labels of the recording that is the request's body, in any format, or of each file of a form.

        `name` names a single recording in the response, also that of a form; files of a form have their own names. With
        `windows=false` the response is short.
        """
        tagged = await tagging.tag(request, name)
        if not windows:
            tagged = [replace(each, windows=None) if isinstance(each, TagResponse) else each for each in tagged]
        return tagged[0] if len(tagged) == 1 and isinstance(tagged[0], TagResponse) else tagged

    @app.post("/lumen/api/processFile/", openapi_extra=describe_body(BINARY), responses=UPLOAD_REFUSALS)
    async def process_file(request: Request) -> dict[str, int]:
        """Every label of the run, with 1 where it is decided on and 0 where it is not.

        As the Lumen instrument recogniser answers.
        """
        (tagged,) = await tagging.tag(request, max_files=1)
        assert isinstance(tagged, TagResponse)  # as it is the only one
        return {label: int(label in tagged.labels) for label in tagging.service.run.labels}

    return app


def _reject_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
    """What is wrong with a request's parameters, in a line."""
    problems = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
    return JSONResponse({"detail": "; ".join(problems)}, 422)


def _prefers_json(accept: str) -> bool:
    """Whether a client names JSON before HTML among what it accepts."""
    kinds = [kind.partition(";")[0].strip().lower() for kind in accept.split(",")]
    wanted = [kind for kind in kinds if kind in ("application/json", "text/html")]
    return wanted[:1] == ["application/json"]


def _list_endpoints(app: FastAPI) -> dict[str, Any]:
    """Each request that is answered, and with what."""
    paths = app.openapi()["paths"]
    endpoints = [
        {"method": method.upper(), "path": path, "answer": operation["description"].partition("\n")[0]}
        for path, methods in paths.items()
        for method, operation in methods.items()
    ]
    return {
        "name": app.title,
        "description": app.description,
        "docs": "/docs",
        "endpoints": endpoints,
    }


@contextmanager
def _refusals(name: str) -> Iterator[None]:
    """Turn what keeps a recording of that name from a response into HTTPException."""
    try:
        yield
    except asyncio.CancelledError:
        raise HTTPException(503, "nobody waits for the answer, or the server is ending") from None
    except DecodeError as error:
        raise HTTPException(422, f"{name} cannot be read: {error.reason}") from None
    except UserError as error:
        raise HTTPException(503, str(error)) from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise HTTPException(503, "too little memory for it at the moment") from None


async def _cancel_on_disconnect(coroutine: Coroutine[Any, Any, TagResponse], request: Request) -> TagResponse:
    """The result of a coroutine, which is cancelled where its client is gone. Raises CancelledError then."""
    task = asyncio.create_task(coroutine)
    try:
        while not (await asyncio.wait({task}, timeout=DISCONNECT_POLL_S))[0]:
            if await request.is_disconnected():
                task.cancel()
        return task.result()
    finally:  # also where the server ends
        task.cancel()
        await asyncio.wait({task})
