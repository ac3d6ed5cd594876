"""Windows that share columns: where they hear the same as by themselves, and which networks cannot."""

from dataclasses import replace
from unittest.mock import patch

import numpy as np
import pytest
import torch

from predict.inference import windowing
from predict.inference.forward import supports_dense
from predict.inference.tagger import Tagger, load_run
from recipe import Network, Prediction
from tests.predict.conftest import TinyRun
from train.networks.factory import build_network

DENSE = Prediction(window_seconds=0.6, hop_seconds=0.2, mode="dense")
"""Three columns of 16 frames, from one to the next one."""


@pytest.fixture
def tagger(tiny_run: TinyRun) -> Tagger:
    return load_run(tiny_run.run_paths.run_dir, DENSE).tagger()


def noise(n_frames: int) -> torch.Tensor:
    return torch.randn(n_frames, 24, generator=torch.Generator().manual_seed(n_frames)) * 10 - 40


@pytest.mark.parametrize("n_frames", [1, 47, 48])
def test_a_single_window_scores_as_in_exact_mode(tagger: Tagger, n_frames: int) -> None:
    exact = replace(tagger, prediction=replace(DENSE, mode="exact"))
    np.testing.assert_allclose(tagger.tag(noise(n_frames)).windows, exact.tag(noise(n_frames)).windows, atol=1e-5)


def test_windows_are_the_head_s_answer_to_their_columns_of_the_whole_clip(tagger: Tagger) -> None:
    frames = noise(48 + 16 * 10)
    with torch.inference_mode():
        expected = []
        for network in tagger.networks:
            columns = network.time_steps(frames[None])
            windows = [network.head(columns[:, :, first : first + 3])[0].sigmoid() for first in range(11)]
            expected.append(torch.stack(windows))
    np.testing.assert_allclose(tagger.tag(frames).windows, torch.stack(expected).mean(0).numpy(), atol=1e-5)


def test_chunks_leave_no_trace(tagger: Tagger) -> None:
    frames = noise(2_000)
    unchunked = tagger.tag(frames)
    with patch.object(windowing, "CHUNK_WINDOWS", 7):
        chunked = tagger.tag(frames)
    np.testing.assert_allclose(chunked.windows, unchunked.windows, atol=1e-4)


def test_times_are_those_of_exact_windows(tagger: Tagger) -> None:
    exact = replace(tagger, prediction=replace(DENSE, mode="exact"))
    one, other = tagger.tag(noise(333)), exact.tag(noise(333))
    np.testing.assert_array_equal(one.start_s, other.start_s)
    np.testing.assert_array_equal(one.end_s, other.end_s)
    assert one.windows.shape == other.windows.shape


@pytest.mark.parametrize(
    ("name", "able"),
    [("cnn_small", True), ("resnet18", True), ("alexnet", False), ("mobilenet_v3_small", False)],
)
def test_networks_whose_layers_look_at_all_columns_cannot_share(name: str, able: bool) -> None:
    network = build_network(Network(name=name), 64, 3, 0.0, 1.0, pretrained=False)  # type: ignore[arg-type]
    assert supports_dense(network) is able


def test_a_network_that_cannot_share_says_so(tiny_run: TinyRun, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in (0, 1):
        tiny_run.write_network(fold, network=Network(name="mobilenet_v3_small"))
    run = load_run(tiny_run.run_paths.run_dir, DENSE)
    assert "mobilenet_v3_small" in capsys.readouterr().err
    assert run.prediction.mode == "exact"
