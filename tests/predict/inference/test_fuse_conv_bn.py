"""Networks ready to answer: the same logits as the trained ones, which stay as they were."""

from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor, nn

from predict.inference.run_loader import fuse_conv_bn, load_run
from recipe import Features, Network, Prediction, Recipe
from tests.predict.conftest import TinyRun
from train.networks.factory import AudioNetwork, build_network_from_recipe

NAMES = get_args(get_type_hints(Network)["name"])
NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d)
N_BINS = {"waveform": 1, "inception_v3": 96}
"""inception_v3 takes no less than 75."""


def make_trained_network(name: str) -> AudioNetwork:
    """A network in eval mode whose normalisation layers have means, deviations, scales and shifts of their own."""
    torch.manual_seed(0)
    n_bins = N_BINS.get(name, 64)
    features = Features(n_bins=n_bins)
    if name == "waveform":
        features = Features(kind="waveform", n_bins=n_bins, storage="int16")
    recipe = Recipe(features=features, network=Network(name=name))  # type: ignore[arg-type]
    network = build_network_from_recipe(recipe, features.n_bins, 5)
    for layer in network.modules():
        if isinstance(layer, NORMALISATIONS):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.7, 1.5)
            nn.init.uniform_(layer.weight, 0.7, 1.5)
            nn.init.normal_(layer.bias, std=0.1)
    return network.eval()


def frames_for(name: str) -> Tensor:
    n_bins = N_BINS.get(name, 64)
    shape = (2, 4096 if name == "waveform" else n_bins, n_bins)
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NAMES)
@torch.inference_mode()
def test_every_network_answers_as_before_and_stays_as_it_was(name: str) -> None:
    network, frames = make_trained_network(name), frames_for(name)
    before, logits = network.state_dict(), network(frames)
    fused_network = fuse_conv_bn(network)
    torch.testing.assert_close(fused_network(frames), logits, rtol=1e-4, atol=1e-4 * float(logits.abs().max()))
    assert torch.equal(network(frames), logits)
    assert list(network.state_dict()) == list(before)
    assert fused_network.time_stride == network.time_stride


@pytest.mark.parametrize("name", ["cnn_small", "resnet_small", "resnet18", "vgg16_bn", "efficientnet_b0", "waveform"])
def test_no_normalisation_is_left_behind_a_convolution(name: str) -> None:
    network = make_trained_network(name)
    assert any(isinstance(layer, NORMALISATIONS) for layer in network.modules())
    assert not any(isinstance(layer, NORMALISATIONS) for layer in fuse_conv_bn(network).modules())


def test_weights_stay_in_the_order_that_convolutions_want() -> None:
    layers = [
        layer for layer in fuse_conv_bn(make_trained_network("cnn_small")).modules() if isinstance(layer, nn.Conv2d)
    ]
    assert len(layers) == 4
    assert all(layer.weight.is_contiguous(memory_format=torch.channels_last) for layer in layers)


def test_a_run_answers_by_fused_networks_and_keeps_the_trained_ones(tiny_run: TinyRun) -> None:
    run = load_run(tiny_run.run_paths.run_dir, Prediction(window_seconds=0.5, hop_seconds=0.25))
    for fold, networks in run.folds.items():
        fused_networks = run.tagger(fold).scorer.networks
        assert len(fused_networks) == len(networks)
        assert not any(isinstance(layer, NORMALISATIONS) for each in fused_networks for layer in each.modules())
        assert all(any(isinstance(layer, NORMALISATIONS) for layer in each.modules()) for each in networks)
