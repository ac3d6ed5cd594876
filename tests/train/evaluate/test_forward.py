"""Windows that share time steps: where they score as by themselves, and which networks cannot."""

from dataclasses import replace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch

from predict.inference.run_loader import load_run
from recipe import Network, Prediction, Recipe
from tests.predict.conftest import TinyRun
from train.evaluate import forward
from train.evaluate.forward import supports_dense
from train.evaluate.window_scorer import WindowScorer, WindowScores
from train.networks.factory import AudioNetwork, build_network_from_recipe

DENSE = Prediction(window_seconds=0.6, hop_seconds=0.2, mode="dense")
"""Three columns of 16 frames, from one to the next one."""


@pytest.fixture
def scorer(tiny_run: TinyRun) -> WindowScorer:
    return load_run(tiny_run.run_paths.run_dir, DENSE).tagger().scorer


def noise(n_frames: int) -> torch.Tensor:
    return torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(n_frames)) * 10 - 40


def score(scorer: WindowScorer, frames: torch.Tensor, **changed: Any) -> WindowScores:
    """The windows of one clip, by a prediction with other keys."""
    (windows,) = replace(scorer, prediction=replace(DENSE, **changed)).score_clips([[frames]])
    return windows


@pytest.mark.parametrize("n_frames", [1, 47, 48])
def test_a_single_window_scores_as_in_exact_mode(scorer: WindowScorer, n_frames: int) -> None:
    frames = noise(n_frames)
    np.testing.assert_allclose(score(scorer, frames).scores, score(scorer, frames, mode="exact").scores, atol=1e-5)


def test_windows_are_the_head_s_scores_of_their_columns_of_the_whole_clip(scorer: WindowScorer) -> None:
    frames = noise(48 + 16 * 10)
    with torch.inference_mode():
        expected = []
        for network in scorer.networks:
            columns = network.time_steps(frames[None])
            windows = [network.head(columns[:, :, first : first + 3])[0].sigmoid() for first in range(11)]
            expected.append(torch.stack(windows))
    np.testing.assert_allclose(score(scorer, frames).scores, torch.stack(expected).mean(0).numpy(), atol=1e-5)


def test_chunks_leave_no_trace(scorer: WindowScorer) -> None:
    frames = noise(2_000)
    unchunked = score(scorer, frames)
    with patch("train.evaluate.windows.CHUNK_WINDOWS", 7):
        chunked = score(scorer, frames)
    np.testing.assert_allclose(chunked.scores, unchunked.scores, atol=1e-4)


def test_windows_lie_where_exact_ones_do(scorer: WindowScorer) -> None:
    one, other = score(scorer, noise(333)), score(scorer, noise(333), mode="exact")
    np.testing.assert_array_equal(one.start_frames, other.start_frames)
    assert one.scores.shape == other.scores.shape
    assert not np.allclose(one.scores, other.scores, atol=1e-4), "at their edges they see what lies beyond"


def test_on_a_cpu_a_network_takes_few_windows_at_once(scorer: WindowScorer) -> None:
    frames = noise(48 + 16 * 40)
    expected = score(scorer, frames, mode="exact").scores
    batches: list[int] = []
    original = forward.run_network

    def counted(network: Any, x: torch.Tensor) -> torch.Tensor:
        batches.append(len(x))
        return original(network, x)

    with patch.object(forward, "run_network", counted), patch.object(forward, "CPU_BATCH_WINDOWS", 16):
        scores = score(scorer, frames, mode="exact").scores
    assert batches == [16, 16, 9] * 2
    np.testing.assert_allclose(scores, expected, atol=1e-6)


@pytest.mark.parametrize("n_windows", [1, 2, 3, 29, 63, 64, 65, 128, 150])
def test_on_a_gpu_batches_have_few_sizes_and_the_same_scores(scorer: WindowScorer, n_windows: int) -> None:
    network, sizes = scorer.networks[0], list[int]()
    x = noise(48 * n_windows).view(n_windows, 48, 24)
    expected = forward.run_network(network, x)
    original = forward.run_network

    def counted(network: Any, x: torch.Tensor) -> torch.Tensor:
        sizes.append(len(x))
        return original(network, x)

    with patch.object(forward, "run_network", counted):
        scores = forward.score_in_fixed_sizes(network, x)
    assert set(sizes) <= {1, 2, 4, 8, 16, 32, 64}
    assert sum(sizes) < 2 * n_windows
    torch.testing.assert_close(scores, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["exact", "dense"])
def test_cudnn_times_nothing_for_clips_of_many_lengths(
    scorer: WindowScorer, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    seen: list[bool] = []
    original = AudioNetwork.time_steps

    def recorded(network: AudioNetwork, x: torch.Tensor) -> torch.Tensor:
        seen.append(torch.backends.cudnn.benchmark)
        return original(network, x)

    monkeypatch.setattr(torch.backends.cudnn, "benchmark", mode == "dense")
    monkeypatch.setattr(AudioNetwork, "time_steps", recorded)
    score(scorer, noise(48 + 16 * 10), mode=mode)
    assert set(seen) == {mode == "exact"}


@pytest.mark.parametrize(
    ("name", "able"),
    [
        ("cnn_small", True),
        ("resnet18", True),
        ("alexnet", False),
        ("mobilenet_v3_small", False),
        ("squeezenet1_1", False),
    ],
)
def test_networks_whose_layers_look_at_all_columns_cannot_share(name: str, able: bool) -> None:
    network = build_network_from_recipe(Recipe(network=Network(name=name)), 64, 3)  # type: ignore[arg-type]
    assert supports_dense(network) is able


def test_a_network_that_cannot_share_says_so(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in (0, 1):
        tiny_run.write_network(fold, network=Network(name="mobilenet_v3_small"))
    run = load_run(tiny_run.run_paths.run_dir, DENSE)
    assert "mobilenet_v3_small" in capsys.readouterr().err
    assert run.prediction.mode == "exact"
