"""Section `network`: the architecture."""

from dataclasses import dataclass
from typing import Annotated, Literal

from recipe.bounds import Bounds, Fraction, Section

OwnNetwork = Literal["cnn_small", "resnet_small", "waveform"]
ResNet = Literal["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d"]
OtherTorchvisionNetwork = Literal[
    "alexnet",
    "vgg16_bn",
    "squeezenet1_1",
    "googlenet",
    "inception_v3",
    "densenet121",
    "mobilenet_v3_small",
    "mobilenet_v3_large",
    "efficientnet_b0",
    "convnext_tiny",
]


@dataclass(frozen=True)
class Network(Section):
    """The architecture of a network."""

    name: Literal[OwnNetwork, ResNet, OtherTorchvisionNetwork] = "cnn_small"
    """A small network for CPUs, a residual one, 1-D convolutions for raw waveforms, or one of torchvision's."""
    weights: str | None = None
    """First weights of a torchvision network: `imagenet` (downloaded once), or a file of such weights."""
    channels: Literal["one", "copies", "deltas"] = "one"
    """Input of the first layer: frames (its weights summed over RGB), three copies, or frames and two derivatives."""
    normalise: Literal["overall", "bins", "clip", "imagenet"] = "overall"
    """By one mean and deviation, by those of each bin, each crop or window by its own, or to ImageNet's mean and
    deviation (three copies only)."""
    filterbank_bins: Annotated[int, Bounds(0, 1024)] = 0
    """Bins of a filterbank over samples (features.kind waveform) that is trained with the network; 0 is none. A frame
    of its decibels has the samples of one of the features' frames."""
    pooling: Literal["mean", "mean_max", "attention"] = "mean_max"
    """How columns of time become one vector; alexnet and vgg16_bn keep their own."""
    hidden: Annotated[int, Bounds(0, 65_536)] = 0
    """Units of a hidden layer before the last; 0 is none. alexnet and vgg16_bn keep their own."""
    dropout: Fraction = 0.2
    """Dropout before each layer of the head; alexnet and vgg16_bn keep the places of theirs."""
    modulation_units: Annotated[int, Bounds(0, 4096)] = 0
    """Units beside the trunk for the modulation spectrum of each band over a whole window; 0 is none."""
