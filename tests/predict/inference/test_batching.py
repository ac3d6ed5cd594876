"""Clips in batches, against each clip by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from predict.inference import batching
from predict.inference.batching import FrameStream, group_by_clip, score_in_batches
from predict.inference.tagger import Tagger, WindowScores, load_run
from predict.inference.windowing import WindowChunk
from preprocess.audio.blocks import DecodeError
from recipe import Prediction
from tests.predict.conftest import TinyRun

CPU = torch.device("cpu")
LENGTHS = [200, 10, 80, 80, 80, 2_000, 40, 41, 1, 500]


@pytest.fixture
def tagger(tiny_run: TinyRun) -> Tagger:
    return load_run(tiny_run.run_paths.run_dir, Prediction(window_seconds=0.5, hop_seconds=0.25)).tagger()


def noise(n_frames: int, seed: int) -> torch.Tensor:
    return torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(seed)) * 20 - 40


def streams() -> Iterator[FrameStream[int]]:
    for number, n_frames in enumerate(LENGTHS):
        yield FrameStream(number, noise(n_frames, number).split(64))


@pytest.mark.parametrize("mode", ["exact", "dense"])
@pytest.mark.parametrize("n_jobs", [1, 3])
def test_clips_in_one_batch_do_not_affect_each_other(
    tagger: Tagger, mode: Literal["exact", "dense"], n_jobs: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    tagger = replace(tagger, prediction=replace(tagger.prediction, mode=mode, view_windows_s=[0.3, 1.0]))
    found = dict(group_by_clip(score_in_batches(tagger, streams(), CPU, n_jobs)))
    assert list(found) == list(range(len(LENGTHS)))
    for number, n_frames in enumerate(LENGTHS):
        alone = tagger.tag(noise(n_frames, number))
        together = tagger.pool_clip(found[number], 0.0, np.inf)
        np.testing.assert_allclose(together.windows, alone.windows, atol=1e-5)
        np.testing.assert_array_equal(together.start_s, alone.start_s)


def test_no_batch_but_the_last_is_small(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    counts: list[int] = []
    original = Tagger.score_chunks

    def counted(self: Tagger, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        counts.append(sum(len(chunk.starts) for chunk in chunks))
        return original(self, chunks)

    monkeypatch.setattr(Tagger, "score_chunks", counted)
    one_window = (FrameStream(number, [noise(40, number)]) for number in range(100))
    assert len(list(group_by_clip(score_in_batches(tagger, one_window, CPU, 1)))) == 100
    assert counts == [32, 32, 32, 4]


def test_a_clip_that_cannot_be_read_costs_itself_alone(tagger: Tagger) -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield noise(2_000, 0)
        raise DecodeError("broken.wav", "cut short")

    several = [
        FrameStream("first", [noise(50, 1)]),
        FrameStream("broken", broken()),
        FrameStream("last", [noise(60, 2)]),
    ]
    events = list(score_in_batches(tagger, several, CPU, 2))
    ends = {key: event for key, event in events if not isinstance(event, WindowScores)}
    assert ends["first"] is ends["last"] is None
    assert isinstance(ends["broken"], DecodeError)
    assert (events[0][0], events[-1][0]) == ("first", "last")
    with pytest.raises(DecodeError, match="cut short"):
        list(group_by_clip(events))


def test_known_chunks_are_passed_over(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = noise(4_000, 0)
    ((_, all_scores),) = group_by_clip(score_in_batches(tagger, [FrameStream("whole", [frames])], CPU, 1))
    ((_, rest),) = group_by_clip(score_in_batches(tagger, [FrameStream("rest", [frames], skip=1)], CPU, 1))
    assert len(all_scores) == len(rest) + 1
    np.testing.assert_array_equal(rest[0].start_frames, all_scores[1].start_frames)


def test_few_clips_wait_in_memory(tagger: Tagger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "MIN_BATCH_WINDOWS", {"cpu": 1})
    requested: list[int] = []

    def counted() -> Iterator[FrameStream[int]]:
        for number in range(40):
            requested.append(number)
            yield FrameStream(number, [noise(40, number)])

    for done, (key, _) in enumerate(group_by_clip(score_in_batches(tagger, counted(), CPU, 2))):
        assert key == done
        assert len(requested) <= done + 2 + 2


def test_what_arrives_is_passed_on_by_one_thread(tagger: Tagger) -> None:
    n_threads: list[int] = []

    def watched() -> Iterator[torch.Tensor]:
        n_threads.append(torch.get_num_threads())
        yield noise(100, 0)

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        list(score_in_batches(tagger, [FrameStream("a", watched())], CPU, 1))
        assert n_threads == [1]
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
