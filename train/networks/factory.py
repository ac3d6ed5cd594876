"""Networks by name: frontend → trunk → columns of time → head → logits."""

from typing import Any, Literal, Self

import torch
from torch import Tensor, nn

from core.errors import UserError
from recipe import Network, Recipe
from train.data.crops import ShortClipPadding
from train.networks.cnn import cnn_small_trunk, m5_trunk, resnet_small_trunk
from train.networks.frontend import SpectrogramFrontend, WaveformFrontend
from train.networks.heads import build_head
from train.networks.modulation import ModulationUnits
from train.networks.torchvision_trunks import (
    OWN_CLASSIFIER_NETWORKS,
    adapt_classifier,
    build_torchvision_model,
    extract_trunk,
)

Activation = Literal["sigmoid", "softmax"]


class AudioNetwork(nn.Module):
    """Raw frames [B, n_frames, n_bins] in physical units → logits [B, n_labels]."""

    def __init__(
        self,
        frontend: nn.Module,
        trunk: nn.Sequential,
        head: nn.Sequential,
        time_stride: int,
        *,
        dense: bool = True,
        modulation: ModulationUnits | None = None,
    ) -> None:
        super().__init__()
        self.frontend, self.trunk, self.head, self.modulation = frontend, trunk, head, modulation
        self.time_stride = time_stride
        self.dense = dense and modulation is None
        """Whether the head may be given any run of time steps, as a sliding window over one pass of the trunk does."""
        self.activation: Activation = "sigmoid"
        self.short_clip_padding: ShortClipPadding = "random_tile"
        """How clips shorter than a window are filled: as they were in training."""
        self.kind = "logmel"
        """What the frames are."""
        self.frozen = False

    def time_steps(self, x: Tensor) -> Tensor:
        """[B, channels, n_time_steps]: what the trunk makes of each `time_stride` frames, and what holds for all."""
        time_steps: Tensor = self.trunk(self.frontend(x))
        if self.modulation is None:
            return time_steps
        units = self.modulation(x).to(time_steps.dtype)
        return torch.cat([time_steps, units[:, :, None].expand(-1, -1, time_steps.shape[-1])], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.time_steps(x))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Scores in [0, 1] as float32: of each label by itself, or shared out among them for one label a clip."""
        return logits.float().softmax(-1) if self.activation == "softmax" else logits.float().sigmoid()

    def freeze(self, frozen: bool) -> None:
        """Keep the trunk as it is, running means of its normalisation layers included, or let it learn again."""
        self.frozen = frozen
        self.trunk.requires_grad_(not frozen)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        self.trunk.train(mode and not self.frozen)
        return self

    def layer_groups(self) -> list[nn.Module]:
        """First half of the trunk, second half, head and what stands beside the trunk: each may have its own rate."""
        half = (len(self.trunk) + 1) // 2
        new = nn.ModuleList([self.head] if self.modulation is None else [self.modulation, self.head])
        return [self.trunk[:half], self.trunk[half:], new]


def build_network_from_recipe(
    recipe: Recipe,
    n_bins: int,
    n_labels: int,
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    *,
    pretrained: bool = False,
) -> AudioNetwork:
    """The network of a whole recipe, which knows how its scores and its short clips are meant.

    Raises UserError as build_network does.
    """
    if (recipe.network.name == "waveform") != (recipe.features.kind == "waveform"):
        raise UserError(
            f"network.name = {recipe.network.name} with features.kind = {recipe.features.kind}: "
            "the one waveform is for the other alone"
        )
    if recipe.network.modulation_units and recipe.features.kind == "cqt_chroma":
        raise UserError("network.modulation_units: chroma has lost how loud a sound is; set it to 0")
    built = build_network(recipe.network, n_bins, n_labels, mean, std, pretrained=pretrained)
    built.activation = "softmax" if recipe.training.loss == "cross_entropy" else "sigmoid"
    built.short_clip_padding, built.kind = recipe.training.short_clip_padding, recipe.features.kind
    return built


def build_network(
    network: Network,
    n_bins: int,
    n_labels: int,
    mean: Tensor | float,
    std: Tensor | float,
    *,
    pretrained: bool,
) -> AudioNetwork:
    """The network a recipe names, for frames of `n_bins`. `pretrained` False leaves `network.weights` alone.

    Raises UserError where the recipe's keys do not fit each other, or its weights cannot be had.
    """
    _check(network, n_bins)
    if network.name == "waveform":
        return AudioNetwork(WaveformFrontend(mean, std), m5_trunk(), build_head(network, 512, n_labels), 1024)
    n_units = network.modulation_units
    modulation = ModulationUnits(n_units, network.dropout) if n_units else None
    frontend = SpectrogramFrontend(n_bins, mean, std, network.channels, network.normalise == "imagenet")
    n_channels = 1 if network.channels == "one" else 3
    if network.name == "cnn_small":
        head = build_head(network, 256 + n_units, n_labels)
        built = AudioNetwork(frontend, cnn_small_trunk(n_channels), head, 16, modulation=modulation)
    elif network.name == "resnet_small":
        head = build_head(network, 256 + n_units, n_labels)
        built = AudioNetwork(frontend, resnet_small_trunk(n_channels), head, 32, modulation=modulation)
    else:
        model = build_torchvision_model(network.name, network.weights if pretrained else None, n_channels)
        trunk, dense = extract_trunk(model), network.name not in OWN_CLASSIFIER_NETWORKS
        if dense:
            head = build_head(network, _n_features(model) + n_units, n_labels)
        else:
            head = adapt_classifier(model, n_labels, network.dropout)
        built = AudioNetwork(frontend, trunk, head, 32, dense=dense, modulation=modulation)
    return built.to(memory_format=torch.channels_last)


def _n_features(model: Any) -> int:
    """Channels before a torchvision network pools: what its first linear layer takes."""
    classifier = model.fc if hasattr(model, "fc") else model.classifier
    return int(next(layer.in_features for layer in classifier.modules() if isinstance(layer, nn.Linear)))


def _check(network: Network, n_bins: int) -> None:
    """Keys that do not go together."""
    own = network.name in ("cnn_small", "resnet_small", "waveform")
    if own and network.weights:
        raise UserError(
            f"network.weights = {network.weights}: {network.name} has none; "
            "to fine-tune one of your runs use training.start_from"
        )
    if network.name == "waveform" and n_bins != 1:
        raise UserError(f"network.name = waveform takes one sample a frame, not {n_bins}: set features.n_bins 1")
    if network.name == "waveform" and network.channels != "one":
        raise UserError(f"network.channels = {network.channels}: waveform takes samples as they are; set it to one")
    if network.modulation_units and network.name in ("waveform", *OWN_CLASSIFIER_NETWORKS):
        raise UserError(f"network.modulation_units: {network.name} has no place for them; set it to 0")
    if network.normalise == "imagenet" and network.channels != "copies":
        raise UserError("network.normalise = imagenet: needs three channels, network.channels copies")
