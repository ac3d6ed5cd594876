"""Recordings scored as they come: in turns, and what is given up or fails costs the next one nothing."""

import asyncio
import json
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import soundfile

from core.errors import UserError
from core.sandbox import cancel_sandboxes
from predict import run
from predict.decide.fitted_params import write_thresholds
from predict.inference.score_cache import RecordingScores
from preprocess.audio.blocks import DecodeError
from recipe.cli import parse_command
from serve.inference_service import DECODERS_PER_CORE, ENDED, InferenceService
from serve.run import add_options, build_service
from tests.predict.conftest import LABELS, TinyRun, make_tiny_run
from tests.predict.test_run import change_weight
from tests.processes import running_children
from train.evaluate.window_scorer import WindowScores


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
def test_a_service_predicts_what_make_predict_does(tiny_run: TinyRun, keys: list[str]) -> None:
    recipe = parse_command([*tiny_run.arguments, *keys], "test").recipe
    write_thresholds(tiny_run.run_paths.run_dir, LABELS, np.array([0.3, 0.5, 0.6], np.float32), recipe.prediction, {})
    folder = tiny_run.run_paths.cache.parent / "sound"
    run.main([*tiny_run.arguments, *keys, "--input", str(folder), "--export", "json", "--merge"])
    written = tiny_run.run_paths.input_dir(folder)
    exported = json.loads((written / "detections.json").read_text())["clips"]
    decided = pd.read_csv(written / "labels.csv", keep_default_na=False).set_index("clip")
    windows = pd.read_csv(written / "windows.csv").set_index(["clip", "label"])
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


def test_scores_that_are_no_finite_numbers_are_no_answer(tmp_path: Path) -> None:
    tiny_run = make_tiny_run(tmp_path)
    change_weight(tiny_run, "trunk.0.1.running_var", -1.0)  # whose square root is none
    path = Path(tiny_run.table["path"].iloc[11])
    with open_service(tiny_run) as service, pytest.raises(UserError, match="no finite number, and none is used"):
        asyncio.run(service.tag(path.name, path))


def test_what_make_predict_warns_of_is_said_here_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_run = make_tiny_run(tmp_path)
    (tiny_run.run_paths.run_dir / "fold0" / "log.csv").write_text("epoch,train_loss\n1,0.5\n")
    open_service(tiny_run)
    (unfinished,) = capsys.readouterr().err.splitlines()
    assert unfinished.startswith(f"warning: {tiny_run.run_paths.run_dir}/fold0/best.pt has 1 of ")
    run.main([*tiny_run.arguments, "--input", tiny_run.table["path"].iloc[11]])
    assert unfinished in capsys.readouterr().err.splitlines()


def test_a_response_says_what_could_not_be_read(tiny_run: TinyRun, tmp_path: Path) -> None:
    soundfile.write(tmp_path / "whole.flac", soundfile.read(make_noise(tmp_path / "noise.wav", 8))[0], 8_000)
    content = (tmp_path / "whole.flac").read_bytes()
    (tmp_path / "cut.flac").write_bytes(content[: len(content) // 2])
    with open_service(tiny_run) as service:
        whole, cut = (asyncio.run(service.tag(name, tmp_path / name)) for name in ("whole.flac", "cut.flac"))
    assert whole.warning == ""
    assert cut.warning == f"it breaks off at {cut.duration_s:.2f} s of 8.00 s"


def test_windows_in_added_silence_are_left_out_as_in_tables(tiny_run: TinyRun, monkeypatch: pytest.MonkeyPatch) -> None:
    windows = WindowScores(np.arange(0, 200, 40), np.full((5, 3), 0.5, np.float32))  # at 80 frames a second
    padded = RecordingScores(windows, -1.0, 0.4, "")
    monkeypatch.setattr(InferenceService, "_score", lambda *_: padded)
    with open_service(tiny_run) as service:
        response = asyncio.run(service.tag("short", Path("short.wav")))
    assert response.windows
    assert (response.windows.start_s, response.windows.end_s) == ([0.0], [0.4])
    assert {len(scores) for scores in response.windows.scores.values()} == {1}


def test_what_is_longer_than_allowed_is_refused_as_soon_as_it_is_known(tiny_run: TinyRun, tmp_path: Path) -> None:
    path = make_noise(tmp_path / "long.wav", 600)
    longer = pytest.raises(DecodeError, match=r"it is longer than 2\.5 minutes")
    with open_service(tiny_run, "--max_minutes", "2.5") as service, longer as refused:
        asyncio.run(service.tag("long", path))
    assert refused.value.path == path


def make_noise(path: Path, seconds: float) -> Path:
    soundfile.write(path, np.random.default_rng(0).uniform(-0.1, 0.1, round(seconds * 8_000)), 8_000)
    return path


@pytest.fixture
def service(tiny_run: TinyRun, faulty_decoders: None) -> Iterator[InferenceService]:
    """A service whose decoders fail at recordings named for it."""
    with open_service(tiny_run) as service:
        yield service


@pytest.fixture
def good(tiny_run: TinyRun) -> Path:
    return Path(tiny_run.table["path"].iloc[11])


async def wait_until(condition: Callable[[], object], timeout_s: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        await asyncio.sleep(0.01)


async def begin(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    """A request that has been under way for a moment."""
    task = asyncio.create_task(coroutine)
    await asyncio.sleep(0.5)
    assert not task.done()
    return task


def test_what_costs_a_sandbox_costs_one_request(
    service: InferenceService, tmp_path: Path, good: Path, short_stall: float
) -> None:
    reasons = {
        "crashes.wav": r"it ended its process \(SIGSEGV\)",
        "crashes3.wav": r"it ended its process \(SIGSEGV\)",
        "hangs1.wav": f"it hung: no progress for {short_stall:g} s",
        "has_a_fault0.wav": "ZeroDivisionError: division by zero",
        "needs_memory2.wav": "it needs more memory than its process may use",
    }
    paths = [make_noise(tmp_path / name, 4.0) for name in reasons]

    async def ask() -> list[Any]:
        requests = [service.tag(path.name, path) for path in [*paths, good, good]]
        return await asyncio.gather(*requests, return_exceptions=True)

    *failed, one, other = asyncio.run(ask())
    for error, (name, reason) in zip(failed, reasons.items(), strict=True):
        with pytest.raises(DecodeError, match=reason):
            raise error
        assert error.path.name == name
    expected = asyncio.run(service.tag(good.name, good))
    assert one.scores == pytest.approx(expected.scores, abs=2e-6)
    assert other.scores == pytest.approx(expected.scores, abs=2e-6)


def test_a_decoder_that_hangs_keeps_no_other_recording_waiting(
    service: InferenceService, tmp_path: Path, good: Path
) -> None:
    async def ask() -> None:
        waiting = await begin(service.tag("hangs", make_noise(tmp_path / "hangs2.wav", 4.0)))
        assert (await service.tag("good", good)).duration_s == 2
        assert not waiting.done()
        waiting.cancel()

    asyncio.run(ask())


def test_requests_that_are_cancelled_end_their_decoders_and_cost_the_next_nothing(
    service: InferenceService, tmp_path: Path, good: Path
) -> None:
    hangs = make_noise(tmp_path / "hangs0.wav", 4.0)

    async def ask() -> None:
        expected = await service.tag("good", good)
        idle = len(running_children())
        cancelled = [asyncio.create_task(service.tag("hangs", hangs)) for _ in range(4)]
        next_one = asyncio.create_task(service.tag("good", good))
        await wait_until(lambda: len(running_children()) >= idle + 3)
        for task in cancelled:
            task.cancel()
        began = time.monotonic()
        await wait_until(lambda: len(running_children()) <= idle + 1)
        assert time.monotonic() - began < 1
        assert (await next_one) == expected
        for task in cancelled:
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(ask())


def test_a_long_recording_that_is_cancelled_is_not_scored_to_its_end(
    service: InferenceService, tmp_path: Path, good: Path
) -> None:
    """Its decoder has frames ready at any time, so that nothing is waited for."""
    path = make_noise(tmp_path / "long.wav", 3_000)

    async def ask() -> None:
        task = await begin(service.tag("long", path))
        assert len(running_children()) == 1
        task.cancel()
        began = time.monotonic()
        await wait_until(lambda: not running_children())
        assert time.monotonic() - began < 1
        assert (await service.tag("good", good)).duration_s == 2

    asyncio.run(ask())


def test_more_recordings_than_threads_wait_for_one(tiny_run: TinyRun, good: Path) -> None:
    async def ask(service: InferenceService) -> list[Any]:
        return await asyncio.gather(*(service.tag("good", good) for _ in range(5)))

    with open_service(tiny_run, "--max_pending", "2") as service:
        responses = asyncio.run(ask(service))
    for response in responses:
        assert response.scores == pytest.approx(responses[0].scores, abs=2e-6)


def test_few_decoders_serve_many_recordings(tiny_run: TinyRun, tmp_path: Path) -> None:
    path = make_noise(tmp_path / "noise.wav", 4.0)

    async def count_decoders(service: InferenceService) -> int:
        requests = [asyncio.create_task(service.tag("noise", path)) for _ in range(8)]
        most = 0
        while not all(each.done() for each in requests):
            most = max(most, len(running_children()))
            await asyncio.sleep(0.01)
        assert all(each.result().duration_s == 4 for each in requests)
        return most

    with cancel_sandboxes():
        pass  # idle ones of other tests
    with open_service(tiny_run) as service:
        assert 1 <= asyncio.run(count_decoders(service)) <= DECODERS_PER_CORE


def test_a_service_that_has_ended_refuses(service: InferenceService, tmp_path: Path, good: Path) -> None:
    hangs = make_noise(tmp_path / "hangs1.wav", 4.0)

    async def ask() -> None:
        under_way = await begin(service.tag("hangs", hangs))
        began = time.monotonic()
        service.__exit__()
        assert time.monotonic() - began < 1
        assert not running_children()
        for request in (under_way, service.tag("good", good)):
            with pytest.raises(UserError, match=ENDED):
                await request

    asyncio.run(ask())
