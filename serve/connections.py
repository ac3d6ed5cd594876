"""Connections of HTTP/1.1: bounded in number, and closed where the head of a request does not come in time."""

import asyncio
import time
from collections import Counter
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

IDLE_TIMEOUT_S = 10.0
"""Longest time until the head of a request is there, and for what is still sent after its response."""


class BoundedProtocol(H11Protocol):
    """Past `max_connections`, one gives way that owes no response: the oldest of the peer that has most of them."""

    def __init__(self, *args: Any, max_connections: int, **keywords: Any) -> None:
        super().__init__(*args, **keywords)
        self.max_connections, self.idle_since_s = max_connections, time.monotonic()
        self._idle_timer: asyncio.TimerHandle | None = None

    @property
    def peer(self) -> str:
        return self.client[0] if self.client else ""

    @property
    def owes_response(self) -> bool:
        return self.cycle is not None and not self.cycle.response_started

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._limit_idle_time()
        if len(self.connections) > self.max_connections:
            self._close_an_idle_one()

    def _close_an_idle_one(self) -> None:
        others = [each for each in self.connections if isinstance(each, BoundedProtocol) and each is not self]
        n_connections = Counter(each.peer for each in others)
        if idle := [each for each in others if not each.owes_response]:
            oldest = max(idle, key=lambda each: (n_connections[each.peer], -each.idle_since_s))
            self.connections.discard(oldest)
            oldest.transport.abort()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._limit_idle_time()

    def on_response_complete(self) -> None:
        self.idle_since_s = time.monotonic()
        super().on_response_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._idle_timer:
            self._idle_timer.cancel()

    def _limit_idle_time(self) -> None:
        """Start the timer where no request is under way, and stop it where one is."""
        if self.cycle is not None and not self.cycle.response_complete:
            if self._idle_timer:
                self._idle_timer.cancel()
            self._idle_timer = None
        elif not self._idle_timer:
            self._idle_timer = self.loop.call_later(IDLE_TIMEOUT_S, self.transport.abort)
