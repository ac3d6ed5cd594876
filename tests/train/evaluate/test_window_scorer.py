"""Clips in batches, against each clip by itself."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from predict.inference.run_loader import load_run
from recipe import Prediction
from tests.predict.conftest import TinyRun
from train.evaluate import window_scorer
from train.evaluate.chunks import WindowChunk
from train.evaluate.window_scorer import WindowScorer, WindowScores

LENGTHS = [200, 10, 80, 80, 80, 2_000, 40, 41, 1, 500]


@pytest.fixture
def scorer(tiny_run: TinyRun) -> WindowScorer:
    return load_run(tiny_run.run_paths.run_dir, Prediction(window_seconds=0.5, hop_seconds=0.25)).tagger().scorer


def noise(n_frames: int, seed: int) -> torch.Tensor:
    return torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(seed)) * 20 - 40


@pytest.mark.parametrize("n_block", [1, 64, 5_000])
@pytest.mark.parametrize("mode", ["exact", "dense"])
def test_clips_in_one_batch_do_not_affect_each_other(
    scorer: WindowScorer, mode: Literal["exact", "dense"], n_block: int
) -> None:
    prediction = replace(scorer.prediction, mode=mode, view_shifts_s=[0.1], view_gains_db=[6.0])
    scorer = replace(scorer, prediction=prediction)
    clips = [noise(n_frames, seed) for seed, n_frames in enumerate(LENGTHS)]
    together = list(scorer.score_clips(clip.split(n_block) for clip in clips))
    assert len(together) == len(clips)
    for clip, found in zip(clips, together, strict=True):
        (alone,) = scorer.score_clips([[clip]])
        np.testing.assert_allclose(found.scores, alone.scores, atol=1e-5)
        np.testing.assert_array_equal(found.start_frames, alone.start_frames)


def count_batches(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The windows of each batch that is scored, filled as they are."""
    counts: list[int] = []
    original = WindowScorer.score_chunks

    def counted(self: WindowScorer, chunks: Sequence[WindowChunk]) -> list[WindowScores]:
        counts.append(sum(len(chunk.starts) for chunk in chunks))
        return original(self, chunks)

    monkeypatch.setattr(WindowScorer, "score_chunks", counted)
    return counts


def test_no_batch_but_the_last_is_small(scorer: WindowScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_batches(monkeypatch)
    assert len(list(scorer.score_clips([noise(40, seed)] for seed in range(150)))) == 150
    assert counts == [64, 64, 22]


def test_no_clips_have_no_scores(scorer: WindowScorer) -> None:
    assert list(scorer.score_clips([])) == []


def test_few_clips_wait_in_memory(scorer: WindowScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_scorer, "MIN_BATCH_WINDOWS", 3)
    requested: list[int] = []

    def clips() -> Iterator[list[torch.Tensor]]:
        for seed in range(40):
            requested.append(seed)
            yield [noise(40, seed)]

    for done, _ in enumerate(scorer.score_clips(clips())):
        assert len(requested) <= done + 3
    assert len(requested) == 40


def test_few_windows_of_a_long_clip_wait_in_memory(scorer: WindowScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_batches(monkeypatch)
    waiting = 0

    def blocks() -> Iterator[torch.Tensor]:
        nonlocal waiting
        for seed in range(100):
            waiting = max(waiting, seed * 5 - sum(counts))  # a window every 20 frames
            yield noise(100, seed)

    (windows,) = scorer.score_clips([blocks()])
    assert len(windows.scores) == 100 * 5 - 1
    assert waiting <= 2 * 64


def test_an_error_while_a_clip_is_read_reaches_the_reader(scorer: WindowScorer) -> None:
    def broken() -> Iterator[torch.Tensor]:
        yield noise(2_000, 0)
        raise ValueError("cut short")

    with pytest.raises(ValueError, match="cut short"):
        list(scorer.score_clips([[noise(50, 1)], broken(), [noise(60, 2)]]))
