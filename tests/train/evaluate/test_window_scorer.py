"""Clips in batches, against each clip by itself, and against its windows by themselves."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from core.errors import UserError
from predict.inference.run_loader import load_run
from recipe import Network, Prediction, Recipe, Training
from tests.predict.conftest import TinyRun
from tests.train.store_factories import make_frame_bank
from train.data.frame_bank import FrameBank
from train.evaluate import window_scorer
from train.evaluate.window_scorer import MIN_BATCH_WINDOWS, WindowScorer, WindowScores, score_clips
from train.evaluate.windows import WindowChunk, pool_windows, slice_windows, window_starts
from train.networks.factory import AudioNetwork, build_network_from_recipe

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
    original = WindowScorer.blend_chunks

    def counted(self: WindowScorer, chunks: Sequence[WindowChunk]) -> torch.Tensor:
        counts.append(sum(len(chunk.starts) for chunk in chunks))
        return original(self, chunks)

    monkeypatch.setattr(WindowScorer, "blend_chunks", counted)
    return counts


def test_no_batch_but_the_last_is_small(scorer: WindowScorer, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = count_batches(monkeypatch)
    assert len(list(scorer.score_clips([noise(40, seed)] for seed in range(150)))) == 150
    assert counts == [64, 64, 22]


def test_scores_are_waited_for_when_the_next_batch_is_under_way(
    scorer: WindowScorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts, waited_after, original = count_batches(monkeypatch), list[int](), window_scorer.split_scores

    def waited(starts: Sequence[np.ndarray], scores: torch.Tensor) -> list[WindowScores]:
        waited_after.append(len(counts))
        return original(starts, scores)

    monkeypatch.setattr(window_scorer, "split_scores", waited)
    list(scorer.score_clips([noise(40, seed)] for seed in range(200)))
    assert counts == [64, 64, 64, 8]
    assert waited_after == [2, 3, 4, 4]


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
        assert len(requested) <= done + 6, "two batches of three"
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


PREDICTION = Prediction(window_seconds=2.0, hop_seconds=0.7)
RECIPE = Recipe(prediction=PREDICTION)
CLIP_LENGTHS = [3, 19, 20, 21, 55, 700, 1]


@pytest.fixture
def frame_bank() -> FrameBank:
    """Clips of 10 frames a second: shorter than, as long as, one frame longer than a window, and many windows long."""
    random = np.random.default_rng(0)
    return make_frame_bank({f"clip {n}": random.normal(0, 1, (n, 8)).astype(np.float16) for n in CLIP_LENGTHS})


@pytest.fixture
def network() -> AudioNetwork:
    torch.manual_seed(0)
    return build_network_from_recipe(
        Recipe(network=Network(dropout=0.5), training=Training(short_clip_padding="pad")), 8, 3
    ).eval()


def naive_scores(network: AudioNetwork, frames: torch.Tensor) -> torch.Tensor:
    """A window at a time: float32 [n_windows, n_labels]."""
    starts = window_starts(len(frames), 20, 7)
    with torch.inference_mode():
        return torch.cat([network(x[None]).sigmoid() for x in slice_windows(frames, starts, 20, "pad", "logmel")])


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_clips_score_as_their_windows_pooled(frame_bank: FrameBank, network: AudioNetwork, pooling: str) -> None:
    assert sum(len(window_starts(n, 20, 7)) for n in CLIP_LENGTHS) > MIN_BATCH_WINDOWS
    prediction = Prediction(window_seconds=2.0, hop_seconds=0.7, pooling=pooling)  # type: ignore[arg-type]
    rows = [5, 0, 3, 6, 2]
    scores = score_clips([network], frame_bank, rows, Recipe(prediction=prediction))
    expected = [pool_windows(naive_scores(network, frame_bank.clip_frames(row)), prediction) for row in rows]
    assert torch.allclose(scores, torch.stack(expected), atol=1e-6)
    assert scores.dtype == torch.float32


@pytest.mark.parametrize("how", ["mean", "geometric"])
def test_networks_of_an_ensemble_are_blended_window_by_window(
    frame_bank: FrameBank, network: AudioNetwork, how: Literal["mean", "geometric"]
) -> None:
    torch.manual_seed(1)
    other = build_network_from_recipe(
        Recipe(network=Network(dropout=0.5), training=Training(short_clip_padding="pad")), 8, 3
    ).eval()
    for each in (network, other):
        torch.nn.init.normal_(each.head.get_parameter("2.weight"))
    prediction = replace(PREDICTION, pooling="max", blend=how)
    scores = score_clips([network, other], frame_bank, range(len(CLIP_LENGTHS)), Recipe(prediction=prediction))
    for row, score in enumerate(scores):
        one, two = (naive_scores(each, frame_bank.clip_frames(row)) for each in (network, other))
        together = (one + two) / 2 if how == "mean" else (one * two).sqrt()
        assert torch.allclose(score, together.amax(0), atol=1e-6)
    alone = torch.stack(
        [
            score_clips([each], frame_bank, range(len(CLIP_LENGTHS)), Recipe(prediction=prediction))
            for each in (network, other)
        ]
    )
    assert not torch.allclose(scores, alone.mean(0), atol=1e-4), "pooling first is another answer"
    of_one = score_clips(
        [network], frame_bank, range(len(CLIP_LENGTHS)), Recipe(prediction=replace(prediction, blend="mean"))
    )
    assert torch.allclose(alone[0], of_one, atol=1e-6)


class Cramped(torch.nn.Module):
    """A trunk on a device with room for so many windows."""

    def __init__(self, trunk: torch.nn.Module, max_windows: int) -> None:
        super().__init__()
        self.trunk, self.max_windows = trunk, max_windows

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if len(x) > self.max_windows:
            raise torch.OutOfMemoryError("CUDA out of memory")
        scored: torch.Tensor = self.trunk(x)
        return scored


def test_windows_that_memory_has_no_room_for_are_scored_in_turn(frame_bank: FrameBank, network: AudioNetwork) -> None:
    expected = score_clips([network], frame_bank, [5, 0, 4], RECIPE)
    trunk = network.trunk
    network.trunk = Cramped(trunk, max_windows=5)  # type: ignore[assignment]
    assert torch.allclose(score_clips([network], frame_bank, [5, 0, 4], RECIPE), expected, atol=1e-6)
    network.trunk = Cramped(trunk, max_windows=0)  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"cpu has too little memory for a window of 20 frames: lower "):
        score_clips([network], frame_bank, [5], RECIPE)


def test_scoring_leaves_the_network_as_it_was(frame_bank: FrameBank, network: AudioNetwork) -> None:
    before = {name: value.clone() for name, value in network.state_dict().items()}
    score_clips([network], frame_bank, [0, 1], RECIPE)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
