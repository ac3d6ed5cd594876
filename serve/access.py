"""Who may ask: names of this server, pages of which origins; and the headers that keep answers from other pages."""

import re
import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from core.errors import UserError
from serve.places import is_loopback

ORIGIN = re.compile(r"https?://[^\s/?#@*]+")
DEFAULT_PORTS = {"http": 80, "https": 443}
"""Which browsers leave out."""
LOADS_NOTHING = "default-src 'none'; frame-ancestors 'none'"
POLICIES = {
    "/": "script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'; media-src blob:; img-src data:; "
    f"{LOADS_NOTHING}",
    "/docs": "script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
    f"img-src 'self' data:; {LOADS_NOTHING}",
}
"""What pages, by their paths, may load: nothing from elsewhere."""
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Of every response."""


@dataclass(frozen=True)
class AccessRules:
    """The names under which a server that listens at `host` is asked, and origins of other pages that may ask.

    Origins are as `normalize_origin` returns them.
    """

    host: str
    allowed_origins: Collection[str] = ()

    def find_refusal(self, headers: Headers) -> tuple[int, str] | None:
        """Status and reason, if a request with these headers is refused."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._knows(host):
            return 400, f"this server has another name than {host[:100]!r}"
        if origin is not None and origin not in self.allowed_origins and split_url(origin).netloc != host.lower():
            return 403, f"pages of {origin[:100]!r} may not ask: start the server with --allow_origin"
        return None

    def _knows(self, host: str) -> bool:
        """Whether a Host header is one of this server's.

        A page of another site can have its own name resolve to this machine, but not an address.
        """
        name = split_url(f"//{host}").hostname or ""
        names = {self.host.lower(), *(split_url(origin).hostname for origin in self.allowed_origins)}
        if name in names or is_loopback(name):
            return True
        return is_any_address(self.host) and (is_address(name) or name == socket.gethostname().lower())


def split_url(url: str) -> SplitResult:
    """The parts of a URL in small letters, which are all empty where it is none."""
    try:
        parts = urlsplit(url.lower())
        return parts if parts.port != 0 else urlsplit("")  # where it is no number, this raises
    except ValueError:
        return urlsplit("")


def normalize_origin(origin: str) -> str:
    """A page's scheme, name and port as browsers send them. Raises UserError where it is none."""
    parts = split_url(origin)
    if not (ORIGIN.fullmatch(origin) and parts.hostname):
        raise UserError(f"--allow_origin {origin}: give scheme, name and port of a page, as https://example.org:8443")
    name = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = "" if parts.port in (None, DEFAULT_PORTS[parts.scheme]) else f":{parts.port}"
    return f"{parts.scheme}://{name}{port}"


def is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def is_any_address(host: str) -> bool:
    """Whether a server at `host` listens at all addresses of the machine."""
    return not host or (is_address(host) and ip_address(host).is_unspecified)


class AccessMiddleware:
    """Refuses requests by the rules, and adds HEADERS to every response."""

    def __init__(self, app: ASGIApp, rules: AccessRules) -> None:
        self.app, self.rules = app, rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(HEADERS)
                headers["Content-Security-Policy"] = POLICIES.get(scope["path"], LOADS_NOTHING)
            await send(message)

        app = self.app
        if refusal := self.rules.find_refusal(Headers(scope=scope)):
            app = JSONResponse({"detail": refusal[1]}, refusal[0])
        await app(scope, receive, send_with_headers)
