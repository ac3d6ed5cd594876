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

from core.errors import UserError
from predict import run
from predict.decide.thresholds import write_thresholds
from predict.decoding.decoder_pool import DecoderPool
from preprocess.audio.blocks import DecodeError
from recipe.cli import parse_command
from serve.inference_service import InferenceService
from serve.run import add_options, build_service
from tests.predict.conftest import LABELS, TinyRun, make_tiny_run

HANGING = """
import os, time
from preprocess.audio import clip_audio
from predict.decoding import decoder_process

def decode_blocks(path, sample_rate_hz, good=clip_audio.decode_blocks):
    while os.path.basename(path) == "hangs":
        time.sleep(0.1)
    yield from good(path, sample_rate_hz)

clip_audio.decode_blocks = decode_blocks
decoder_process.main()
"""


def open_service(tiny_run: TinyRun, *keys: str) -> InferenceService:
    return build_service(parse_command([*tiny_run.arguments, "--jobs", "1", *keys], "test", add_options))


@pytest.mark.parametrize(
    "keys",
    [
        [],
        ["--prediction.pooling", "vote_fraction", "--prediction.window_threshold", "0.4"],
        ["--prediction.mode", "dense", "--prediction.pooling", "max"],
        ["--prediction.view_gains_db", "[-6,6]"],
    ],
)
def test_a_service_answers_what_make_predict_does(tiny_run: TinyRun, keys: list[str]) -> None:
    recipe = parse_command([*tiny_run.arguments, *keys], "test").recipe
    write_thresholds(tiny_run.run_paths.run_dir, LABELS, np.array([0.3, 0.5, 0.6], np.float32), recipe.prediction, {})
    folder = tiny_run.run_paths.cache.parent / "sound"
    run.main([*tiny_run.arguments, *keys, "--input", str(folder), "--export", "json", "--merge"])
    exported = json.loads(tiny_run.run_paths.submission("_on_sound.json").read_text())["clips"]
    decided = pd.read_csv(tiny_run.run_paths.submission("_on_sound_labels.csv"), keep_default_na=False).set_index(
        "clip"
    )
    windows = pd.read_csv(tiny_run.run_paths.submission("_on_sound_windows.csv")).set_index(["clip", "label"])
    with open_service(tiny_run, *keys) as service:
        for predicted in exported:
            clip = predicted["clip"]
            response = asdict(asyncio.run(service.tag(clip, folder / clip)))
            assert response["scores"] == pytest.approx(predicted["scores"], abs=2e-6)
            assert [one | {"score": 0} for one in response["detections"]] == [
                one | {"score": 0} for one in predicted["detections"]
            ]
            assert ";".join(response["labels"]) == decided["labels"][clip]
            assert response["duration_s"] == pytest.approx(soundfile.info(folder / clip).duration, abs=1e-3)
            for label, scores in response["windows"]["scores"].items():
                rows = windows.loc[[(clip, label)]]
                np.testing.assert_allclose(scores, rows["score"], atol=2e-6)
                np.testing.assert_allclose(response["windows"]["start_s"], rows["start_s"], atol=1e-3)
                np.testing.assert_allclose(response["windows"]["end_s"], rows["end_s"], atol=1e-3)


def test_what_make_predict_warns_of_is_said_here_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run = make_tiny_run(tmp_path)
    (tiny_run.run_paths.run_dir / "fold0" / "log.csv").write_text("epoch,train_loss\n1,0.5\n")
    open_service(tiny_run)
    (unfinished,) = capsys.readouterr().err.splitlines()
    assert unfinished.startswith(f"warning: {tiny_run.run_paths.run_dir}/fold0/best.pt is of 1 epochs of ")
    run.main(
        [*tiny_run.arguments, "--prediction.view_offline_augment", "true", "--input", tiny_run.table["path"].iloc[11]]
    )
    predicted = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    open_service(tiny_run, "--prediction.view_offline_augment", "true")
    assert capsys.readouterr().err.splitlines() == predicted
    assert len(predicted) == 2
    assert "recordings are heard without copies" in predicted[1]


def test_what_is_longer_than_allowed_is_refused_as_soon_as_it_is_known(tiny_run: TinyRun, tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, 600 * 8_000), 8_000)
    longer = pytest.raises(DecodeError, match=r"it is longer than 2\.5 minutes")
    with open_service(tiny_run, "--max_minutes", "2.5") as service, longer as refused:
        asyncio.run(service.tag("long", path))
    assert refused.value.path == path


@pytest.fixture
def hanging(
    tiny_run: TinyRun, tmp_path: Path, as_process: Callable[[str], tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[InferenceService, Path, Path]]:
    """A service of two decoders, a recording of which they hang, and a good one."""
    monkeypatch.setattr("serve.inference_service.DecoderPool", partial(DecoderPool, command=as_process(HANGING)))
    good = Path(tiny_run.table["path"].iloc[11])
    (tmp_path / "hangs").write_bytes(good.read_bytes())
    with open_service(tiny_run, "--jobs", "2") as service:
        yield service, tmp_path / "hangs", good


def test_a_decoder_that_gives_no_sound_keeps_no_other_from_the_networks(
    hanging: tuple[InferenceService, Path, Path],
) -> None:
    service, hangs, good = hanging

    async def ask() -> None:
        waiting = asyncio.create_task(service.tag("hangs", hangs))
        await asyncio.sleep(0.1)
        assert (await service.tag("good", good)).duration_s == 2
        assert not waiting.done()

    asyncio.run(ask())


def test_answers_that_are_given_up_cost_the_next_one_nothing(hanging: tuple[InferenceService, Path, Path]) -> None:
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


def test_a_service_that_has_ended_answers_nothing(hanging: tuple[InferenceService, Path, Path]) -> None:
    service, hangs, good = hanging

    async def ask() -> None:
        under_way = asyncio.create_task(service.tag("hangs", hangs))
        await asyncio.sleep(0.1)
        service.__exit__()
        with pytest.raises(UserError, match="decoding was cancelled"):
            await under_way
        with pytest.raises(UserError, match="no more recordings are to be heard"):
            await service.tag("good", good)

    asyncio.run(ask())
    assert not service.folder.exists()
