"""Clips are scored by the windows of prediction, however the windows are batched."""

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from core.errors import UserError
from recipe import Network, Prediction, Recipe, Training
from tests.train.store_factories import make_frame_bank
from train.data.frame_bank import FrameBank
from train.evaluate.score_clips import score_clips
from train.evaluate.window_scorer import MIN_BATCH_WINDOWS
from train.evaluate.windows import pool_windows, slice_windows, window_starts
from train.networks.factory import AudioNetwork, build_network_from_recipe

PREDICTION = Prediction(window_seconds=2.0, hop_seconds=0.7)
LENGTHS = [3, 19, 20, 21, 55, 700, 1]


@pytest.fixture
def frame_bank() -> FrameBank:
    """Clips of 10 frames a second: shorter than, as long as, one frame longer than a window, and many windows long."""
    random = np.random.default_rng(0)
    return make_frame_bank({f"clip {n}": random.normal(0, 1, (n, 8)).astype(np.float16) for n in LENGTHS})


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
        return torch.cat([network(x[None]).sigmoid() for x in slice_windows(frames, starts, 20, "pad")])


@pytest.mark.parametrize("pooling", ["mean", "max"])
def test_clips_score_as_their_windows_pooled(frame_bank: FrameBank, network: AudioNetwork, pooling: str) -> None:
    assert sum(len(window_starts(n, 20, 7)) for n in LENGTHS) > MIN_BATCH_WINDOWS
    prediction = Prediction(window_seconds=2.0, hop_seconds=0.7, pooling=pooling)  # type: ignore[arg-type]
    rows = [5, 0, 3, 6, 2]
    scores = score_clips([network], frame_bank, rows, prediction)
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
    )
    for each in (network, other):
        torch.nn.init.normal_(each.head.get_parameter("2.weight"))
    prediction = replace(PREDICTION, pooling="max", blend=how)
    scores = score_clips([network, other], frame_bank, range(len(LENGTHS)), prediction)
    assert other.training
    other.eval()
    for row, score in enumerate(scores):
        one, two = (naive_scores(each, frame_bank.clip_frames(row)) for each in (network, other))
        together = (one + two) / 2 if how == "mean" else (one * two).sqrt()
        assert torch.allclose(score, together.amax(0), atol=1e-6)
    alone = torch.stack([score_clips([each], frame_bank, range(len(LENGTHS)), prediction) for each in (network, other)])
    assert not torch.allclose(scores, alone.mean(0), atol=1e-4), "pooling first is another answer"
    of_one = score_clips([network], frame_bank, range(len(LENGTHS)), replace(prediction, blend="mean"))
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
    expected = score_clips([network], frame_bank, [5, 0, 4], PREDICTION)
    trunk = network.trunk
    network.trunk = Cramped(trunk, max_windows=5)  # type: ignore[assignment]
    assert torch.allclose(score_clips([network], frame_bank, [5, 0, 4], PREDICTION), expected, atol=1e-6)
    network.trunk = Cramped(trunk, max_windows=0)  # type: ignore[assignment]
    with pytest.raises(UserError, match=r"cpu has too little memory for a window of 20 frames: lower "):
        score_clips([network], frame_bank, [5], PREDICTION)


def test_scoring_leaves_the_network_learning_as_it_was(frame_bank: FrameBank, network: AudioNetwork) -> None:
    network.train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    score_clips([network], frame_bank, [0, 1], PREDICTION)
    assert network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
