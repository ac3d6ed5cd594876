"""Layers of networks, counted by hand, and pictures of filters."""

import base64
from io import BytesIO
from typing import Literal

import numpy as np
import pytest
from PIL import Image

from recipe import Features, Network, Recipe
from report.training.network_summary import TILE_COLUMNS, list_layers, picture_filters, respond, tile
from train.networks.factory import build_network_from_recipe


def test_layers_have_their_shapes_weights_and_multiply_adds() -> None:
    network = build_network_from_recipe(Recipe("test"), 64, 5).eval()
    layers = {layer["name"]: layer for layer in list_layers(network, 96, 64)}
    first = layers["trunk.0.0"]
    assert (first["kind"], first["output_shape"], first["n_weights"]) == ("Conv2d", (32, 32, 48), 32 * 25)
    assert first["n_multiply_adds"] == 32 * 25 * 32 * 48
    last = next(layer for layer in reversed(layers.values()) if layer["kind"] == "Linear")
    assert (last["output_shape"], last["n_multiply_adds"]) == ((5,), last["n_weights"] - 5)
    assert sum(layer["n_weights"] for layer in layers.values()) == sum(each.numel() for each in network.parameters())


@pytest.mark.parametrize("name", ["resnet_small", "convnext_tiny"])
def test_every_weight_belongs_to_a_layer(name: Literal["resnet_small", "convnext_tiny"]) -> None:
    network = build_network_from_recipe(Recipe("test", network=Network(name=name, channels="copies")), 64, 3).eval()
    n_weights = sum(layer["n_weights"] for layer in list_layers(network, 96, 64))
    assert n_weights == sum(each.numel() for each in network.parameters())
    picture = picture_filters(network, 32_000)
    assert picture
    uri, description = picture
    assert "Their 3 input channels lie one below the other" in description
    with Image.open(BytesIO(base64.b64decode(uri.partition("base64,")[2]))) as image:
        assert (image.width + 1) % TILE_COLUMNS == 0


@pytest.mark.parametrize(("n_bins", "network"), [(1, Network(name="waveform")), (172, Network(filterbank_bins=8))])
def test_filters_over_samples_are_shown_by_frequency(n_bins: int, network: Network) -> None:
    features = Features(kind="waveform", n_bins=n_bins, storage="int16")
    recipe = Recipe("test", features=features, network=network)
    picture = picture_filters(build_network_from_recipe(recipe, n_bins, 3), 8_000)
    assert picture
    assert "from 0 Hz on the left to 4000 Hz on the right" in picture[1]
    for n_samples in (80, 1000):
        tones = np.sin(2 * np.pi * np.arange(n_samples) * np.array([[0.4], [0.1]]))
        strongest = respond(tones).argmax(axis=1) / max(512, n_samples)
        assert strongest.tolist() == pytest.approx([0.1, 0.4], abs=0.005)


def test_tiles_lie_row_by_row_with_low_bins_below() -> None:
    filters = np.zeros((17, 3, 2))
    filters[16, 0, 1] = 1
    tiles = tile(filters)
    assert tiles.shape == (2 * 4 - 1, 16 * 3 - 1, 4)
    red = np.argwhere((tiles[..., 0] > 80) & (tiles[..., 2] < 60))
    assert red.tolist() == [[6, 1]]
    assert tile(filters[:1]).shape == (3, 2, 4)
