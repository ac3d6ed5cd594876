"""What the API takes and answers, as OpenAPI describes it."""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from serve.inference_service import TagResponse
from serve.upload import MAX_FORM_FILES

BINARY = {"type": "string", "format": "binary", "minLength": 1}
FILES = {"type": "array", "items": BINARY, "minItems": 1, "maxItems": MAX_FORM_FILES}


def describe_body(file: dict[str, Any]) -> dict[str, Any]:
    """The body of a request, which FastAPI does not read, for OpenAPI: raw, or a form with this field `file`."""
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    content = {"application/octet-stream": {"schema": BINARY}, "multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}


@dataclass(frozen=True)
class ServerInfo:
    """The run behind the server, and the limits of a request."""

    run: str
    labels: list[str]
    thresholds: dict[str, float]
    """From which score on a label is decided on."""
    label_names: dict[str, str]
    """What people call them."""
    label_icons: dict[str, str]
    """The recipe's: an emoji, or the name of an icon of the page."""
    networks: str
    """The digest of their files."""
    n_networks: int
    trained_on: str
    """The day on which the last of them was saved, as 2026-01-31."""
    max_mb: int
    max_minutes: float


@dataclass(frozen=True)
class Health:
    """Whether the server answers."""

    status: str = "ok"


@dataclass(frozen=True)
class Refusal:
    """Why there is no answer."""

    detail: str


@dataclass(frozen=True)
class FailedRecording:
    """One of several recordings that has no answer, and why."""

    clip: str
    detail: str


TagResponses = TagResponse | list[TagResponse | FailedRecording]
"""For the one recording of a request, or for each file of a form that has several."""


def describe_refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Refusals with these statuses, for OpenAPI."""
    return {status: {"model": Refusal, "description": HTTPStatus(status).phrase} for status in statuses}


ANY_REFUSALS = describe_refusals(400, 403)
UPLOAD_REFUSALS = describe_refusals(400, 403, 408, 413, 415, 422, 503, 507)
