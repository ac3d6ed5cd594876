"""Networks by name: filterbank of samples, if any → frontend → trunk → columns of time → head → logits."""

import copy
from typing import Literal, Self

import torch
from torch import Tensor, nn

from core.errors import UserError
from recipe import Recipe
from train.data.crops import ShortClipPadding
from train.networks.cnn import SMALL_CHANNELS, cnn_small_trunk, m5_trunk, resnet_small_trunk
from train.networks.filterbank import (
    LEVEL_MEAN_DB,
    LEVEL_STD_DB,
    POSITIONS_PER_FRAME,
    TrainedFilterbank,
    count_taps,
)
from train.networks.frontend import SpectrogramFrontend, WaveformFrontend
from train.networks.heads import build_head
from train.networks.modulation import ModulationUnits
from train.networks.torchvision_trunks import (
    OWN_CLASSIFIER_NETWORKS,
    UNPADDED_NETWORKS,
    adapt_classifier,
    build_torchvision_model,
    count_trunk_channels,
    extract_trunk,
)

Activation = Literal["sigmoid", "softmax", "none"]
SMALL_TRUNKS = {"cnn_small": (cnn_small_trunk, 16), "resnet_small": (resnet_small_trunk, 32)}
"""The project's own trunks for spectrograms, with the frames of a time step."""


class AudioNetwork(nn.Module):
    """Raw frames [B, n_frames, n_bins] in physical units, of samples too → logits [B, n_labels]."""

    def __init__(
        self,
        recipe: Recipe,
        frontend: nn.Module,
        trunk: nn.Sequential,
        head: nn.Sequential,
        time_stride: int,
        modulation: ModulationUnits | None = None,
        filterbank: TrainedFilterbank | None = None,
    ) -> None:
        super().__init__()
        self.filterbank, self.modulation = filterbank, modulation
        self.frontend, self.trunk, self.head = frontend, trunk, head
        self.time_stride = time_stride
        whole_window = recipe.network.normalise == "clip" or recipe.network.name in OWN_CLASSIFIER_NETWORKS
        self.dense = not (whole_window or modulation or recipe.network.name in UNPADDED_NETWORKS)
        """Whether the head takes any number of evenly spaced time steps, so that windows can share one pass."""
        self.activation: Activation = "softmax" if recipe.training.loss == "cross_entropy" else "sigmoid"
        self.short_clip_padding: ShortClipPadding = recipe.training.short_clip_padding
        self.kind = recipe.features.kind
        self.freeze(False, False)

    def time_steps(self, x: Tensor) -> Tensor:
        """[B, channels, n_time_steps]: the trunk's output, a step every `time_stride` frames, and modulation units."""
        frames = self.filterbank(x) if self.filterbank else x
        time_steps: Tensor = self.trunk(self.frontend(frames))
        if self.modulation is None:
            return time_steps
        units = self.modulation(frames).float()
        return torch.cat([time_steps.float(), units[:, :, None].expand(-1, -1, time_steps.shape[-1])], 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.time_steps(x))

    def probabilities(self, logits: Tensor) -> Tensor:
        """Scores in [0, 1], independent or, for one label a clip, with a sum of 1; the embeddings of an embedder."""
        if self.activation == "none":
            return logits
        return logits.softmax(-1) if self.activation == "softmax" else logits.sigmoid()

    def embedder(self) -> "AudioNetwork":
        """A copy without the last linear layer: it gives that layer's input [B, n_values] in place of logits."""
        embedder = copy.deepcopy(self)
        embedder.head, embedder.activation = embedder.head[:-1], "none"
        return embedder

    def freeze(self, *frozen: bool, batch_norm: bool = True) -> None:
        """Freeze or unfreeze each half of the trunk, running means of its normalisation layers included.

        Without `batch_norm`, batch normalisation of frozen layers is trained.
        """
        self.frozen_layers: list[nn.Module] = []
        for layers, is_frozen in zip(self.layer_groups(), frozen, strict=False):
            layers.requires_grad_(not is_frozen)
            for layer in layers.modules() if is_frozen else []:
                if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d) and not batch_norm:
                    layer.requires_grad_()
                else:
                    self.frozen_layers.append(layer)
        self.train(self.training)

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for layer in self.frozen_layers:
            layer.training = False
        return self

    def layer_groups(self) -> list[nn.Module]:
        """Groups for learning rates of their own: both halves of the trunk, and the head with the modulation units.

        A trained filterbank is of the first half.
        """
        half = (len(self.trunk) + 1) // 2
        new = nn.ModuleList([self.head] if self.modulation is None else [self.modulation, self.head])
        first = nn.ModuleList([*([self.filterbank] if self.filterbank else []), *self.trunk[:half]])
        return [first, self.trunk[half:], new]


def build_network_from_recipe(
    recipe: Recipe,
    n_bins: int,
    n_labels: int,
    mean: Tensor | float = 0.0,
    std: Tensor | float = 1.0,
    *,
    pretrained: bool = False,
) -> AudioNetwork:
    """The network of a recipe, for frames of `n_bins`. It starts from `network.weights` where `pretrained`.

    Raises UserError where keys of the recipe do not fit each other, or the weights cannot be had.
    """
    _check_keys(recipe, n_bins)
    network, n_units = recipe.network, recipe.network.modulation_units
    if network.name == "waveform":
        trunk = m5_trunk()
        return AudioNetwork(recipe, WaveformFrontend(mean, std), trunk, build_head(network, 512, n_labels), 1024)
    modulation = ModulationUnits(n_units, network.dropout) if n_units else None
    filterbank = None
    if network.filterbank_bins:
        filterbank = TrainedFilterbank(recipe.features, network.filterbank_bins, mean, std)
        n_bins, mean, std = network.filterbank_bins, LEVEL_MEAN_DB, LEVEL_STD_DB
    frontend = SpectrogramFrontend(n_bins, mean, std, network)
    n_channels = 1 if network.channels == "one" else 3
    if network.name in SMALL_TRUNKS:
        build_trunk, time_stride = SMALL_TRUNKS[network.name]
        head = build_head(network, SMALL_CHANNELS[-1] + n_units, n_labels)
        trunk = build_trunk(n_channels)
    else:
        model = build_torchvision_model(network.name, network.weights if pretrained else None, n_channels)
        trunk, time_stride = extract_trunk(model), 16 if network.name == "squeezenet1_1" else 32
        if network.name in OWN_CLASSIFIER_NETWORKS:
            head = adapt_classifier(model, n_labels, network.dropout)
        else:
            head = build_head(network, count_trunk_channels(model) + n_units, n_labels)
    built = AudioNetwork(recipe, frontend, trunk, head, time_stride, modulation, filterbank)
    return built.to(memory_format=torch.channels_last)


def _check_keys(recipe: Recipe, n_bins: int) -> None:
    """Raise UserError for keys that do not go together."""
    network, kind = recipe.network, recipe.features.kind
    if network.name in (*SMALL_TRUNKS, "waveform") and network.weights:
        raise UserError(
            f"network.weights = {network.weights}: {network.name} has none; "
            "to fine-tune one of your runs use training.start_from"
        )
    _check_sample_keys(recipe, n_bins)
    if network.modulation_units and kind == "cqt_chroma":
        raise UserError("network.modulation_units: chroma has lost how loud a sound is; set it to 0")
    if network.modulation_units and network.name in ("waveform", *OWN_CLASSIFIER_NETWORKS):
        raise UserError(f"network.modulation_units: {network.name} has no place for them; set it to 0")
    if network.normalise == "imagenet" and network.channels != "copies":
        raise UserError("network.normalise = imagenet: needs three channels, network.channels copies")


def _check_sample_keys(recipe: Recipe, n_bins: int) -> None:
    """Raise UserError where samples go to a network of spectrograms, or keys do not fit a network of samples."""
    network, kind = recipe.network, recipe.features.kind
    if (network.name == "waveform" or network.filterbank_bins > 0) != (kind == "waveform"):
        raise UserError(
            f"network.name = {network.name} and network.filterbank_bins = {network.filterbank_bins} with features.kind "
            f"= {kind}: samples (waveform) need network.name waveform or filterbank_bins above 0; no other kind does"
        )
    if network.name == "waveform":
        if n_bins != 1:
            raise UserError(f"network.name = waveform takes one sample a frame, not {n_bins}: set features.n_bins 1")
        if network.channels != "one":
            raise UserError(f"network.channels = {network.channels}: waveform takes samples as they are; set it to one")
        if network.normalise == "clip":
            raise UserError("network.normalise = clip: waveform takes samples of one scale; set it to overall")
        if network.filterbank_bins:
            raise UserError("network.filterbank_bins: network.name waveform has filters of its own; set it to 0")
    elif network.filterbank_bins:
        longest = POSITIONS_PER_FRAME * count_taps(recipe.features.sample_rate_hz)
        if n_bins % POSITIONS_PER_FRAME or n_bins > longest:
            raise UserError(
                f"features.n_bins = {n_bins}: with network.filterbank_bins it is the samples of a frame, a multiple of "
                f"{POSITIONS_PER_FRAME} up to {longest}"
            )
        if network.normalise == "bins":
            raise UserError("network.normalise = bins: a trained filterbank has no bins to measure; set it to overall")
        if recipe.training.progressive:
            raise UserError("training.progressive: frames of samples cannot have fewer bins; leave it out")
