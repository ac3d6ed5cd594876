"""Who may ask: names of this server, pages of which origins; and the headers that keep answers from other pages."""

import socket
from collections.abc import Collection
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve.places import is_loopback

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
    """The names under which a server that listens at `host` is asked, and origins of other pages that may ask."""

    host: str
    allowed_origins: Collection[str] = ()

    def find_refusal(self, headers: Headers) -> tuple[int, str] | None:
        """Status and reason, if a request with these headers is refused."""
        host, origin = headers.get("host", ""), headers.get("origin")
        if not self._knows(host):
            return 400, f"this server has another name than {host[:100]!r}"
        if origin is not None and origin not in self.allowed_origins and urlsplit_host(origin) != host.lower():
            return 403, f"pages of {origin[:100]!r} may not ask: start the server with --allow_origin"
        return None

    def _knows(self, host: str) -> bool:
        """Whether a Host header is one of this server's.

        A page of another site can have its own name resolve to this machine, but not an address.
        """
        try:
            name = urlsplit(f"//{host}").hostname or ""
        except ValueError:
            return False
        names = {self.host.lower(), *(urlsplit(origin).hostname for origin in self.allowed_origins)}
        if name in names or is_loopback(name):
            return True
        return is_any_address(self.host) and (is_address(name) or name == socket.gethostname().lower())


def urlsplit_host(origin: str) -> str:
    """Name and port of an origin; empty where it has none."""
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return ""


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
