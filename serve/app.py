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

from core.errors import BadInput, is_want_of_memory
from preprocess.audio.blocks import DecodeError
from report.html import render_page
from serve.inference_service import Service, Tagged
from serve.log import Log
from serve.upload import received

TEMPLATE = Path(__file__).parent / "templates" / "page.html.j2"
ONLY_OURS = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; media-src blob:; "
    "img-src data:"
)
"""What the page may load: nothing of others."""
ANY_FILE = {"requestBody": {"required": True, "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}}
"""What OpenAPI is told of a request's body, which FastAPI does not read."""
BUSY_S = 5
"""When one who is turned away may ask again."""
LOOK_S = 1.0
"""How often it is looked whether somebody still waits."""


@dataclass(frozen=True)
class About:
    """What answers here."""

    run: str
    labels: list[str]
    thresholds: dict[str, float]
    """From which score on a label is decided on."""
    networks: str
    """The digest of their files."""
    most_mb: int
    most_minutes: float


@dataclass(frozen=True)
class Limits:
    """How much one request may send, and how many may be under way."""

    most_mb: int
    most_waiting: int


def build_app(service: Service, name: str, limits: Limits, log: Log) -> FastAPI:
    """The application that answers for `service`; `name` is the run's."""
    about = About(
        run=name,
        labels=service.run.labels,
        thresholds=dict(zip(service.run.labels, map(float, service.thresholds.values), strict=True)),
        networks=service.run.digest,
        most_mb=limits.most_mb,
        most_minutes=service.longest_s / 60,
    )
    page = render_page(TEMPLATE, about=about)
    room = asyncio.Semaphore(limits.most_waiting)

    # FastAPI's own pages of documentation load scripts from elsewhere; /openapi.json is there.
    told = f"Labels for recordings, by run {name}."
    app = FastAPI(title="Earmark", description=told, docs_url=None, redoc_url=None)

    @app.exception_handler(RequestValidationError)
    def refuse(_: Request, error: RequestValidationError) -> JSONResponse:
        wrong = [f"{each['loc'][-1]}: {each['msg']}" for each in error.errors()]
        return JSONResponse({"detail": "; ".join(wrong)}, 422)

    @app.get("/", include_in_schema=False)
    def show_page() -> HTMLResponse:
        return HTMLResponse(page, headers={"Content-Security-Policy": ONLY_OURS})

    @app.get("/about")
    def tell_about() -> About:
        """Which run answers, its labels and their thresholds, and how much may be sent."""
        return about

    @app.post("/tag", openapi_extra=ANY_FILE)
    async def tag(
        request: Request, name: Annotated[str, Query(max_length=300)] = "recording", windows: bool = True
    ) -> Tagged:
        """The labels of the recording that is the request's body, in any format.

        `name` is how the answer calls it; without `windows` the answer is short.
        """
        began = time.monotonic()
        try:
            if room.locked():
                raise HTTPException(
                    503, f"{limits.most_waiting} recordings are under way", {"Retry-After": str(BUSY_S)}
                )
            with _until_the_end():
                async with room, received(request, service.folder, limits.most_mb * 2**20) as path:
                    tagged = await _answer(service, name, path, request)
        except HTTPException as refusal:
            log.line(f"{name!r}: refused, {refusal.detail}")
            raise
        took_s = time.monotonic() - began
        log.line(f"{name!r}: {tagged.duration_s:.1f} s of sound, {tagged.labels}, in {took_s:.2f} s")
        return tagged if windows else replace(tagged, windows=None)

    return app


@contextmanager
def _until_the_end() -> Iterator[None]:
    """Where the server ends, what is under way is refused, as is what nobody waits for any more."""
    try:
        yield
    except asyncio.CancelledError:
        raise HTTPException(503, "nobody waits for the answer, or the server is ending") from None


async def _answer(service: Service, name: str, path: Path, request: Request) -> Tagged:
    """What the service says, or a refusal that says why there is none."""
    try:
        return await _while_wanted(service.tag(name, path), request)
    except DecodeError as error:
        raise HTTPException(422, f"{name} cannot be read: {error.reason}") from None
    except BadInput as error:
        raise HTTPException(503, str(error)) from None
    except (MemoryError, RuntimeError) as error:
        if not is_want_of_memory(error):
            raise
        raise HTTPException(503, "too little memory for it at the moment") from None


async def _while_wanted(work: Coroutine[Any, Any, Tagged], request: Request) -> Tagged:
    """What comes of work, which is given up where nobody waits for it. Raises CancelledError then."""
    working = asyncio.create_task(work)
    try:
        while not (await asyncio.wait({working}, timeout=LOOK_S))[0]:
            if await request.is_disconnected():
                working.cancel()
        return working.result()
    finally:  # also where the server ends
        working.cancel()
        await asyncio.wait({working})
