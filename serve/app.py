"""The page and the API of `make serve`: what is asked, and how it is answered or refused."""

import asyncio
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
from serve.log import LineLogger
from serve.upload import save_upload

TEMPLATE = Path(__file__).parent / "templates" / "page.html.j2"
CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; media-src blob:; "
    "img-src data:"
)
"""What the page may load: nothing of others."""
BINARY_BODY = {
    "requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
}
"""What OpenAPI is told of a request's body, which FastAPI does not read."""
RETRY_AFTER_S = 5
"""When one who is turned away may ask again."""
DISCONNECT_POLL_S = 1.0
"""How often it is looked whether somebody still waits."""


@dataclass(frozen=True)
class ServerInfo:
    """What answers here."""

    run: str
    labels: list[str]
    thresholds: dict[str, float]
    """From which score on a label is decided on."""
    networks: str
    """The digest of their files."""
    max_mb: int
    max_minutes: float


@dataclass(frozen=True)
class RequestLimits:
    """How much one request may send, and how many may be under way."""

    max_mb: int
    max_pending: int


def build_app(service: InferenceService, name: str, limits: RequestLimits, log: LineLogger) -> FastAPI:
    """The application that answers for `service`; `name` is the run's."""
    server_info = ServerInfo(
        run=name,
        labels=service.run.labels,
        thresholds=dict(zip(service.run.labels, map(float, service.thresholds.values), strict=True)),
        networks=service.run.digest,
        max_mb=limits.max_mb,
        max_minutes=service.max_duration_s / 60,
    )
    page = render_page(TEMPLATE, server_info=server_info)
    slots = asyncio.Semaphore(limits.max_pending)

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
        """Which run answers, its labels and their thresholds, and how much may be sent."""
        return server_info

    @app.post("/tag", openapi_extra=BINARY_BODY)
    async def tag(
        request: Request, name: Annotated[str, Query(max_length=300)] = "recording", windows: bool = True
    ) -> TagResponse:
        """The labels of the recording that is the request's body, in any format.

        `name` is how the answer calls it; without `windows` the answer is short.
        """
        started_s = time.monotonic()
        try:
            if slots.locked():
                raise HTTPException(
                    503, f"{limits.max_pending} recordings are under way", {"Retry-After": str(RETRY_AFTER_S)}
                )
            with _refuse_when_cancelled():
                async with slots, save_upload(request, service.folder, limits.max_mb * 2**20) as path:
                    tagged = await _tag_or_refuse(service, name, path, request)
        except HTTPException as refusal:
            log.line(f"{name!r}: refused, {refusal.detail}")
            raise
        took_s = time.monotonic() - started_s
        log.line(f"{name!r}: {tagged.duration_s:.1f} s of sound, {tagged.labels}, in {took_s:.2f} s")
        return tagged if windows else replace(tagged, windows=None)

    return app


@contextmanager
def _refuse_when_cancelled() -> Iterator[None]:
    """Where the server ends, what is under way is refused, as is what nobody waits for any more."""
    try:
        yield
    except asyncio.CancelledError:
        raise HTTPException(503, "nobody waits for the answer, or the server is ending") from None


async def _tag_or_refuse(service: InferenceService, name: str, path: Path, request: Request) -> TagResponse:
    """What the service says, or a refusal that says why there is none."""
    try:
        return await _cancel_on_disconnect(service.tag(name, path), request)
    except DecodeError as error:
        raise HTTPException(422, f"{name} cannot be read: {error.reason}") from None
    except UserError as error:
        raise HTTPException(503, str(error)) from None
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        raise HTTPException(503, "too little memory for it at the moment") from None


async def _cancel_on_disconnect(coroutine: Coroutine[Any, Any, TagResponse], request: Request) -> TagResponse:
    """What comes of work, which is given up where nobody waits for it. Raises CancelledError then."""
    task = asyncio.create_task(coroutine)
    try:
        while not (await asyncio.wait({task}, timeout=DISCONNECT_POLL_S))[0]:
            if await request.is_disconnected():
                task.cancel()
        return task.result()
    finally:  # also where the server ends
        task.cancel()
        await asyncio.wait({task})
