"""torchvision's networks as trunks: cut before they pool, one-channel stems, ImageNet weights by name or file."""

import re
from typing import Any

from torch import Tensor, nn

from core.errors import UserError
from preprocess.dataset.discovery import expand_user
from train.networks.cnn import MeanOverFrequency
from train.networks.frontend import INCEPTION_NETWORKS
from train.networks.heads import Float32Head
from train.networks.weight_files import read_tensors

OWN_CLASSIFIER_NETWORKS = ("alexnet", "vgg16_bn")
UNPADDED_NETWORKS = ("squeezenet1_1", "inception_v3")
"""Networks whose layers shorten time at both ends, so that their columns lie at no even steps from the first frame."""
LEGACY_DENSENET_KEY = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
"""Layers of densenet by the names in torchvision's own files: norm.1 is norm1."""


def build_torchvision_model(name: str, weights: str | None, n_channels: int) -> nn.Module:
    """A torchvision network for inputs of 1 or 3 channels, with `weights`: none, `imagenet`, or a file."""
    from torchvision.models import get_model  # three seconds that the project's own networks do without

    without: dict[str, bool] = {}
    if name in INCEPTION_NETWORKS:
        without = {"aux_logits": False, "init_weights": False}
    model: nn.Module = get_model(name, weights=None, **without)
    if weights:
        _load_weights(model, name, weights)
    if n_channels == 1:
        _make_stem_one_channel(model)
    return model


def extract_trunk(model: Any) -> nn.Sequential:
    """A torchvision network up to its pooling, bins averaged: [B, c, n_bins, n_frames] → [B, C, n_time_steps]."""
    if type(model).__name__ in ("GoogLeNet", "Inception3"):
        names = [name for name, _ in model.named_children()]
        return nn.Sequential(*list(model.children())[: names.index("avgpool")], MeanOverFrequency())
    if not hasattr(model, "features"):
        stem = nn.Sequential(model.conv1, model.bn1, model.relu, model.maxpool)
        return nn.Sequential(stem, model.layer1, model.layer2, model.layer3, model.layer4, MeanOverFrequency())
    layers = list(model.features.children())
    if type(model).__name__ == "DenseNet":
        layers.append(nn.ReLU(inplace=True))
    elif type(model).__name__ == "ConvNeXt":
        layers.append(model.classifier[0])  # normalises the residual stream
    elif type(model).__name__ in ("AlexNet", "VGG"):
        return nn.Sequential(*layers, model.avgpool, nn.Flatten(1, 2))
    return nn.Sequential(*layers, MeanOverFrequency())


def count_trunk_channels(model: Any) -> int:
    """Channels before a torchvision network pools: what its first linear layer, or squeezenet's last one, takes."""
    if type(model).__name__ == "SqueezeNet":
        return int(model.classifier[1].in_channels)
    classifier = model.fc if hasattr(model, "fc") else model.classifier
    return int(next(layer.in_features for layer in classifier.modules() if isinstance(layer, nn.Linear)))


def adapt_classifier(model: Any, n_labels: int, dropout: float) -> Float32Head:
    """alexnet's and vgg16_bn's classifier, which takes a map of fixed size; its last layer is for `n_labels`."""
    *layers, last = model.classifier.children()
    for layer in layers:
        if isinstance(layer, nn.Dropout):
            layer.p = dropout
    return Float32Head(nn.Flatten(), *layers, nn.Linear(last.in_features, n_labels))


def _make_stem_one_channel(model: nn.Module) -> None:
    """Replace the first convolution by one of one channel, its weights summed over RGB: equal for grey pictures."""
    name = next(name for name, layer in model.named_modules() if isinstance(layer, nn.Conv2d))
    stem: Any = model.get_submodule(name)
    has_bias = stem.bias is not None
    mono_stem = nn.Conv2d(1, stem.out_channels, stem.kernel_size, stem.stride, stem.padding, bias=has_bias)
    mono_stem.load_state_dict(stem.state_dict() | {"weight": stem.weight.sum(1, keepdim=True)})
    model.set_submodule(name, mono_stem)


def _load_weights(model: nn.Module, name: str, weights: str) -> None:
    """Fill `model`. The last layer, which is not used, and the counts of batches may be missing.

    What the file has beside them, such as auxiliary classifiers, is left out.
    """
    key = "network.weights"
    loaded = _download(name) if weights == "imagenet" else read_tensors(expand_user(weights, key), key)
    state = {LEGACY_DENSENET_KEY.sub(r"\1\2", str(key)): value for key, value in loaded.items()}
    expected = model.state_dict()
    last = list(expected)[-1].rpartition(".")[0]
    needed = [key for key in expected if not key.startswith(last) and not key.endswith(".num_batches_tracked")]
    for key in needed:
        if getattr(state.get(key), "shape", None) != expected[key].shape:
            raise UserError(
                f"network.weights = {weights}: not the weights of {name}, whose {key} is {tuple(expected[key].shape)}"
            )
    model.load_state_dict({key: state[key] for key in needed}, strict=False)


def _download(name: str) -> dict[str, Tensor]:
    from torchvision.models import get_model_weights

    weights: Any = get_model_weights(name).DEFAULT
    try:
        return dict(weights.get_state_dict(progress=False, check_hash=True))
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"network.weights = imagenet: {weights.url} cannot be downloaded ({error}); "
            "fetch it elsewhere and give its path: network.weights path/to/file.pth"
        ) from None
