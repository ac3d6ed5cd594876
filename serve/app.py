"""The page and the API of `make serve`: requests, responses and refusals."""

import asyncio
import logging
import time
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from fastapi import FastAPI, HTTPException, Query, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse

from core.errors import UserError, is_out_of_memory
from preprocess.audio.blocks import DecodeError
from report.html_pages import render_page
from serve.inference_service import InferenceService, TagResponse
from serve.upload import save_upload

LOGGER = logging.getLogger("serve")
TEMPLATE = Path(__file__).parent / "templates" / "page.html.j2"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; media-src blob:; "
    "img-src data:"
)
"""The page loads nothing from elsewhere."""
BINARY_BODY = {
    "requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
}
"""The body of a request in OpenAPI's schema: FastAPI does not read it."""
RETRY_AFTER_S = 5
DISCONNECT_POLL_S = 1.0
"""Seconds between looks whether the client still waits."""


@dataclass(frozen=True)
class ServerInfo:
    """The run behind the server, and the limits of a request."""

    run: str
    labels: list[str]
    thresholds: dict[str, float]
    """From which score on a label is decided on."""
    networks: str
    """The digest of their files."""
    max_mb: int
    max_minutes: float


def build_app(service: InferenceService, name: str, max_mb: int, max_pending: int) -> FastAPI:
    """The application of a service with the run of that name, for requests of at most `max_mb`, so many at a time."""
    server_info = ServerInfo(
        run=name,
        labels=service.run.labels,
        thresholds=dict(zip(service.run.labels, map(float, service.thresholds.values), strict=True)),
        networks=service.run.digest,
        max_mb=max_mb,
        max_minutes=service.max_duration_s / 60,
    )
    page, slots = render_page(TEMPLATE, server_info=server_info), asyncio.Semaphore(max_pending)
    # FastAPI's own pages of documentation load scripts from elsewhere; /openapi.json is there.
    description = f"Labels for recordings, by run {name}."
    app = FastAPI(title="Earmark", description=description, docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    def reject_invalid(_: Request, error: RequestValidationError) -> JSONResponse:
        problems = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"detail": "; ".join(problems)}, 422)

    @app.get("/", include_in_schema=False)
    def get_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": CONTENT_SECURITY_POLICY})

    @app.get("/about")
    def get_about() -> ServerInfo:
        """The run, its labels and their thresholds, and the limits of a request."""
        return server_info

    @app.post("/tag", openapi_extra=BINARY_BODY)
    async def tag(
        request: Request, name: Annotated[str, Query(max_length=300)] = "recording", windows: bool = True
    ) -> TagResponse:
        """The labels of the recording that is the request's body, in any format.

        The response calls it `name`; without `windows` it is short.
        """
        started_s = time.monotonic()
        try:
            if slots.locked():
                retry = {"Retry-After": str(RETRY_AFTER_S)}
                raise HTTPException(503, f"{max_pending} recordings are under way", retry)
            with _refusals(name):
                async with slots, save_upload(request, service.folder, max_mb * 2**20) as path:
                    tagged = await _cancel_on_disconnect(service.tag(name, path), request)
        except HTTPException as refusal:
            LOGGER.info("%r: refused, %s", name, refusal.detail)
            raise
        took_s = time.monotonic() - started_s
        LOGGER.info("%r: %.1f s of sound, %s, in %.2f s", name, tagged.duration_s, tagged.labels, took_s)
        return tagged if windows else replace(tagged, windows=None)

    return app


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
