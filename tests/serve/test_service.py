"""Networks that answer one recording after another: what is given up costs the next one nothing."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from errors import BadInput
from predict.tagger import load_run
from predict.thresholds import read_thresholds
from preprocess.decode import DecodeError
from recipe import Prediction
from serve.service import Service
from tests.predict.conftest import LABELS, Home


@pytest.fixture
def service(home: Home) -> Iterator[Service]:
    prediction = Prediction(window_seconds=0.5, hop_seconds=0.25)
    run = load_run(home.places.run_home, prediction)
    thresholds = read_thresholds(home.places.run_home, LABELS, prediction)
    with Service(run, thresholds, torch.device("cpu"), 1, longest_s=600) as service:
        yield service


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Ten minutes of noise."""
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 600 * 8_000), 8_000)
    return path


def test_an_answer_that_is_given_up_is_not_computed_to_its_end(service: Service, home: Home, long: Path) -> None:
    async def ask() -> None:
        short = Path(home.table["path"].iloc[11])
        expected = await service.tag("short", short)
        given_up, waiting, next_one = (asyncio.create_task(service.tag("x", path)) for path in (long, long, short))
        await asyncio.sleep(0.2)
        assert not given_up.done()
        for task in (given_up, waiting):
            task.cancel()
        assert (await next_one).scores == expected.scores
        for task in (given_up, waiting):
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(ask())


def test_what_is_longer_than_allowed_is_refused_as_soon_as_it_is_known(service: Service, long: Path) -> None:
    service.longest_s = 2.0
    with pytest.raises(DecodeError, match=r"it is longer than 0\.033") as refused:
        asyncio.run(service.tag("long", long))
    assert refused.value.path == long


def test_a_service_that_has_ended_answers_nothing(service: Service, home: Home, long: Path) -> None:
    async def ask() -> None:
        under_way = asyncio.create_task(service.tag("long", long))
        await asyncio.sleep(0.2)
        service.__exit__()
        with pytest.raises(BadInput, match="the rest of the recording is not heard"):
            await under_way
        with pytest.raises(BadInput, match="no more recordings are to be heard"):
            await service.tag("short", Path(home.table["path"].iloc[11]))

    asyncio.run(ask())
    assert not service.folder.exists()
