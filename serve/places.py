"""Places for requests under way: many for uploads, where slow ones give way, and few for recordings being scored."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from weakref import WeakValueDictionary

from fastapi import HTTPException

UPLOAD_TIMEOUT_S = 600.0
"""Longest time of a whole upload."""
FAST_BYTES_PER_S = 1_000_000
"""An upload is as late as it is behind a sender of this rate."""
RETRY_AFTER = {"Retry-After": "5"}
"""The header that says in how many seconds to ask again."""


@dataclass(eq=False)
class Upload:
    """A body on its way."""

    peer: str
    deadline: asyncio.Timeout
    started_s: float
    n_bytes: int = 0

    def late_s(self, bytes_per_s: float) -> float:
        """Seconds that it is behind a sender of that rate."""
        return time.monotonic() - self.started_s - self.n_bytes / bytes_per_s


class UploadPlaces:
    """Places for uploads: where all are taken, the latest upload of the peer that has most of them is given up."""

    def __init__(self, n_places: int) -> None:
        self.n_places = n_places
        self._uploads = set[Upload]()

    @asynccontextmanager
    async def take(self, peer: str) -> AsyncIterator[Upload]:
        """A place until the end of `with`. Raises TimeoutError there for a sender that takes too long or gives way."""
        if len(self._uploads) >= self.n_places:
            self._give_up_one()
        async with asyncio.timeout(UPLOAD_TIMEOUT_S) as deadline:
            upload = Upload(peer, deadline, time.monotonic())
            self._uploads.add(upload)
            try:
                yield upload
            finally:
                self._uploads.discard(upload)

    def _give_up_one(self) -> None:
        n_uploads = Counter(each.peer for each in self._uploads)
        latest = max(self._uploads, key=lambda each: (n_uploads[each.peer], each.late_s(FAST_BYTES_PER_S)))
        self._uploads.discard(latest)
        if not latest.deadline.expired():
            latest.deadline.reschedule(0)


class ScoringPlaces:
    """Places for recordings that are decoded and scored; a peer that is not this machine has at most half of them."""

    def __init__(self, n_places: int) -> None:
        self.n_places = n_places
        self._free = asyncio.Semaphore(n_places)
        self._shares = WeakValueDictionary[str, asyncio.Semaphore]()

    def check(self, peer: str) -> None:
        """Raises HTTPException where a recording of the peer would have to wait."""
        if self._free.locked():
            raise HTTPException(503, f"{self.n_places} recordings are under way", RETRY_AFTER)
        if self._share(peer).locked():
            raise HTTPException(503, f"{self.n_places // 2 or 1} recordings of yours are under way", RETRY_AFTER)

    @asynccontextmanager
    async def take(self, peer: str) -> AsyncIterator[None]:
        """Wait for a place, and have it until the end of `with`."""
        async with self._share(peer), self._free:
            yield

    def _share(self, peer: str) -> asyncio.Semaphore:
        n_places = self.n_places if is_loopback(peer) else max(1, self.n_places // 2)
        return self._shares.setdefault(peer, asyncio.Semaphore(n_places))


def is_loopback(name: str) -> bool:
    """Whether a name or an address is this machine's own."""
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"
