"""Maps of where labels were heard: they add up to what the network answers, and lie where the sound is."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from predict.inference.run_loader import load_run
from recipe import Features, Network, Prediction, Recipe
from report.media.saliency import MAX_COLUMNS, SaliencyMapper, clip_saliency, hires_cam
from tests.predict.conftest import LABELS, TinyRun
from tests.train.networks.test_factory import NAMES
from train.evaluate.windows import slice_windows, window_starts
from train.networks.factory import AudioNetwork, build_network_from_recipe


def build(n_bins: int = 64, **keys: object) -> AudioNetwork:
    torch.manual_seed(0)
    network = replace(Network(), dropout=0.0, **keys)  # type: ignore[arg-type]
    return build_network_from_recipe(Recipe(network=network), n_bins, 3, mean=-40.0, std=20.0).eval()


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("alexnet", "vgg16_bn", "waveform")])
def test_places_add_up_to_the_logit_less_its_bias(name: str) -> None:
    network, x = build(96, name=name), -40 + 20 * torch.randn(2, 96, 96)
    added = hires_cam(network, x, [2, 0])
    with torch.inference_mode():
        logits = network(x) - network.head[-1].bias
    assert added.shape[:2] == (2, 2)
    torch.testing.assert_close(added.sum((2, 3)), logits[:, [2, 0]].T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["alexnet", "vgg16_bn"])
def test_networks_of_their_own_classifier_have_maps(name: str) -> None:
    added = hires_cam(build(name=name), -40 + 20 * torch.randn(1, 128, 128), [1])
    assert added.ndim == 4
    assert added.abs().max() > 0


def test_the_maximum_counts_where_it_is() -> None:
    network, x = build(name="cnn_small", pooling="mean_max"), -40 + 20 * torch.randn(1, 160, 64)
    columns: list[torch.Tensor] = []
    network.trunk.register_forward_hook(lambda *given: columns.append(given[2]))
    added = hires_cam(network, x, [0])[0, 0].sum(0)
    last, column = network.head[-1], columns[0][0].detach()
    assert isinstance(last, torch.nn.Linear)
    highest = torch.zeros_like(column).scatter_(1, column.argmax(1, keepdim=True), 1)
    expected = (last.weight[0][:, None] * column * (1 / column.shape[1] + highest)).sum(0)
    torch.testing.assert_close(added, expected.detach(), rtol=1e-4, atol=1e-5)


def test_a_waveform_has_a_map_in_time() -> None:
    recipe = Recipe(
        "wave", features=Features(kind="waveform", storage="int16"), network=Network(name="waveform", dropout=0.0)
    )
    network = build_network_from_recipe(recipe, 1, 3).eval()
    assert clip_saliency(network, torch.randn(20_000, 1), [0, 1], window=16_000).shape == (2, 1, MAX_COLUMNS)


def naive_map(network: AudioNetwork, frames: torch.Tensor, label: int, window: int) -> np.ndarray:
    """[n_rows, n_columns], a window, a row and a column at a time."""
    summed, times = np.zeros((4, max(len(frames), window))), np.zeros(max(len(frames), window))
    for start in window_starts(len(frames), window, window):
        (rows,) = hires_cam(
            network, slice_windows(frames, np.array([start]), window, "random_tile", "logmel"), [label]
        )[0].numpy()
        at = (np.arange(window) + 0.5) * rows.shape[1] / window - 0.5
        summed[:, start : start + window] += [np.interp(at, np.arange(rows.shape[1]), row) for row in rows]
        times[start : start + window] += 1
    mean, n_columns = (summed / times)[:, : len(frames)], min(MAX_COLUMNS, len(frames))
    edges = [(i * len(frames) // n_columns, -(-(i + 1) * len(frames) // n_columns)) for i in range(n_columns)]
    return np.stack([mean[:, first:last].mean(1) for first, last in edges], 1)


@pytest.mark.parametrize("n_frames", [1, 39, 40, 41, 75, 500])
def test_a_clip_s_map_is_made_of_windows_end_to_end(n_frames: int) -> None:
    network, frames = build(name="cnn_small"), -40 + 20 * torch.randn(n_frames, 64)
    found = clip_saliency(network, frames, [2, 0], window=40)
    for label, one in zip((2, 0), found.numpy(), strict=True):
        np.testing.assert_allclose(one, naive_map(network, frames, label, 40), rtol=1e-3, atol=1e-6)


def test_maps_of_a_run_are_of_the_networks_that_answer(tiny_run: TinyRun) -> None:
    run = load_run(tiny_run.run_paths.run_dir, Prediction(window_seconds=0.5, hop_seconds=0.25))
    clip, frames = tiny_run.table["clip"].iloc[1], tiny_run.frames(1)
    assert tiny_run.table["fold"].iloc[1] == 1
    by_fold = SaliencyMapper(run, {clip: 1}).saliency(clip, frames, LABELS[::-1])
    assert by_fold.shape[0] == 3
    assert by_fold.min() >= 0
    assert by_fold.max() == 1
    raw = clip_saliency(run.folds[1][0], frames, [2, 1, 0], 40).relu()
    np.testing.assert_allclose(by_fold, (raw / raw.max()).numpy(), rtol=1e-5)
    assert not np.allclose(SaliencyMapper(run).saliency(clip, frames, LABELS[::-1]), by_fold)
