"""Places for uploads and for scoring: who gives way, and who has to wait."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest
from fastapi import HTTPException

from serve import places
from serve.places import ScoringPlaces, UploadPlaces


async def fill(upload_places: UploadPlaces, peers: Sequence[str], ages_s: Sequence[float]) -> list["asyncio.Task[str]"]:
    """An upload of each peer that began so long ago, and whether it was given up."""

    async def upload(peer: str, age_s: float) -> str:
        try:
            async with upload_places.take(peer) as one:
                one.started_s -= age_s
                await asyncio.sleep(0.2)
                return "received"
        except TimeoutError:
            return "given up"

    tasks = [asyncio.create_task(upload(peer, age_s)) for peer, age_s in zip(peers, ages_s, strict=True)]
    await asyncio.sleep(0)
    return tasks


def take_one_more(n_places: int, peers: Sequence[str], ages_s: Sequence[float], newcomer: str) -> list[str]:
    """What becomes of uploads when another peer comes."""

    async def ask() -> list[str]:
        upload_places = UploadPlaces(n_places)
        tasks = await fill(upload_places, peers, ages_s)
        async with upload_places.take(newcomer):
            return [await task for task in tasks]

    return asyncio.run(ask())


def test_where_places_are_taken_the_latest_upload_gives_way() -> None:
    assert take_one_more(4, ["a", "a", "a"], [1, 9, 2], "a") == ["received"] * 3
    assert take_one_more(3, ["a", "a", "a"], [1, 9, 2], "a") == ["received", "given up", "received"]


def test_of_many_uploads_the_peer_that_has_most_gives_way() -> None:
    assert take_one_more(4, ["old", "many", "many", "many"], [99, 1, 3, 2], "new") == [
        "received",
        "received",
        "given up",
        "received",
    ]


def test_a_large_fast_upload_is_not_the_latest() -> None:
    async def ask() -> list[str]:
        upload_places = UploadPlaces(2)
        tasks = await fill(upload_places, ["a", "a"], [200, 60])
        for each in upload_places._uploads:
            each.n_bytes = 200_000_000 if each.late_s(1e9) > 100 else 660_000
        async with upload_places.take("a"):
            return [await task for task in tasks]

    assert asyncio.run(ask()) == ["received", "given up"]


def test_an_upload_has_a_limited_time_however_fast_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "UPLOAD_TIMEOUT_S", 0.05)

    async def ask() -> None:
        async with UploadPlaces(2).take("a") as upload:
            for _ in range(100):
                upload.n_bytes += 10_000_000
                await asyncio.sleep(0.01)

    with pytest.raises(TimeoutError):
        asyncio.run(ask())


@pytest.mark.parametrize(("peer", "n_places"), [("127.0.0.1", 4), ("::1", 4), ("192.0.2.1", 2), ("unix", 2)])
def test_another_machine_has_half_of_the_places_for_scoring(peer: str, n_places: int) -> None:
    async def ask() -> None:
        scoring = ScoringPlaces(4)
        async with AsyncExitStack() as taken:
            for _ in range(n_places):
                scoring.check(peer)
                await taken.enter_async_context(scoring.take(peer))
            with pytest.raises(HTTPException, match=f"{n_places} recordings") as refused:
                scoring.check(peer)
            assert (refused.value.status_code, refused.value.headers) == (503, {"Retry-After": "5"})
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.01), scoring.take(peer):
                    pass
            if n_places < 4:
                scoring.check("192.0.2.2")
        scoring.check(peer)

    asyncio.run(ask())
