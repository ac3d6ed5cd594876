"""Networks that answer one recording after another: what is given up costs the next one nothing."""

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from core.errors import BadInput
from predict import run
from predict.decide.thresholds import write_thresholds
from predict.decoding.decoder_pool import Listener
from preprocess.audio.blocks import DecodeError
from recipe.cli import read_command
from serve.inference_service import Service
from serve.run import add_options, build_service
from tests.predict.conftest import LABELS, Home, make_home

HANGING = """
import os, time
from preprocess.audio import clip_audio as recording
from predict.decoding import decoder_process as hear

def decode_blocks(path, rate_hz, good=recording.decode_blocks):
    while os.path.basename(path) == "hangs":
        time.sleep(0.1)
    yield from good(path, rate_hz)

recording.decode_blocks = decode_blocks
hear.main()
"""


def open_service(home: Home, *keys: str) -> Service:
    return build_service(read_command([*home.arguments, "--jobs", "1", *keys], "test", add_options))


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["--prediction.pooling", "share", "--prediction.window_threshold", "0.4"],
        ["--prediction.mode", "dense", "--prediction.pooling", "max"],
        ["--prediction.view_gains_db", "[-6,6]"],
    ],
)
def test_a_service_answers_what_make_predict_does(home: Home, keys: list[str]) -> None:
    recipe = read_command([*home.arguments, *keys], "test").recipe
    write_thresholds(home.places.run_home, LABELS, np.array([0.3, 0.5, 0.6], np.float32), recipe.prediction, {})
    sound = home.places.cache.parent / "sound"
    run.main([*home.arguments, *keys, "--input", str(sound), "--export", "json", "--merge"])
    exported = json.loads(home.places.submission("_on_sound.json").read_text())["clips"]
    decided = pd.read_csv(home.places.submission("_on_sound_labels.csv"), keep_default_na=False).set_index("clip")
    windows = pd.read_csv(home.places.submission("_on_sound_windows.csv")).set_index(["clip", "label"])
    with open_service(home, *keys) as service:
        for predicted in exported:
            clip = predicted["clip"]
            said = asdict(asyncio.run(service.tag(clip, sound / clip)))
            assert said["scores"] == pytest.approx(predicted["scores"], abs=2e-6)
            assert [one | {"score": 0} for one in said["detections"]] == [
                one | {"score": 0} for one in predicted["detections"]
            ]
            assert ";".join(said["labels"]) == decided["labels"][clip]
            assert said["duration_s"] == pytest.approx(soundfile.info(sound / clip).duration, abs=1e-3)
            for label, scores in said["windows"]["scores"].items():
                rows = windows.loc[[(clip, label)]]
                np.testing.assert_allclose(scores, rows["score"], atol=2e-6)
                np.testing.assert_allclose(said["windows"]["start_s"], rows["start_s"], atol=1e-3)
                np.testing.assert_allclose(said["windows"]["end_s"], rows["end_s"], atol=1e-3)


def test_what_make_predict_warns_of_is_said_here_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = make_home(tmp_path)
    (home.places.run_home / "fold0" / "log.csv").write_text("epoch,train_loss\n1,0.5\n")
    open_service(home)
    (unfinished,) = capsys.readouterr().err.splitlines()
    assert unfinished.startswith(f"warning: {home.places.run_home}/fold0/best.pt is of 1 epochs of ")
    run.main([*home.arguments, "--prediction.view_copies", "true", "--input", home.table["path"].iloc[11]])
    predicted = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    open_service(home, "--prediction.view_copies", "true")
    assert capsys.readouterr().err.splitlines() == predicted
    assert len(predicted) == 2
    assert "recordings are heard without copies" in predicted[1]


def test_what_is_longer_than_allowed_is_refused_as_soon_as_it_is_known(home: Home, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 600 * 8_000), 8_000)
    longer = pytest.raises(DecodeError, match=r"it is longer than 2\.5 minutes")
    with open_service(home, "--most_minutes", "2.5") as service, longer as refused:
        asyncio.run(service.tag("long", path))
    assert refused.value.path == path


@pytest.fixture
def hanging(
    home: Home, tmp_path: Path, as_process: Callable[[str], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Service, Path, Path]]:
    """A service of two decoders, a recording of which they hang, and a good one."""
    monkeypatch.setattr("serve.inference_service.Listener", partial(Listener, command=as_process(HANGING)))
    good = Path(home.table["path"].iloc[11])
    (tmp_path / "hangs").write_bytes(good.read_bytes())
    with open_service(home, "--jobs", "2") as service:
        yield service, tmp_path / "hangs", good


def test_a_decoder_that_gives_no_sound_keeps_no_other_from_the_networks(hanging: tuple[Service, Path, Path]) -> None:
    service, hangs, good = hanging

    async def ask() -> None:
        waiting = asyncio.create_task(service.tag("hangs", hangs))
        await asyncio.sleep(0.1)
        assert (await service.tag("good", good)).duration_s == 2
        assert not waiting.done()

    asyncio.run(ask())


def test_answers_that_are_given_up_cost_the_next_one_nothing(hanging: tuple[Service, Path, Path]) -> None:
    service, hangs, good = hanging

    async def ask() -> None:
        expected = await service.tag("good", good)
        given_up = [asyncio.create_task(service.tag("hangs", hangs)) for _ in range(4)]
        next_one = asyncio.create_task(service.tag("good", good))
        await asyncio.sleep(0.1)
        for task in given_up:
            task.cancel()
        assert (await next_one) == expected
        for task in given_up:
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(ask())


def test_a_service_that_has_ended_answers_nothing(hanging: tuple[Service, Path, Path]) -> None:
    service, hangs, good = hanging

    async def ask() -> None:
        under_way = asyncio.create_task(service.tag("hangs", hangs))
        await asyncio.sleep(0.1)
        service.__exit__()
        with pytest.raises(BadInput, match="the rest of the recording is not heard"):
            await under_way
        with pytest.raises(BadInput, match="no more recordings are to be heard"):
            await service.tag("good", good)

    asyncio.run(ask())
    assert not service.folder.exists()
