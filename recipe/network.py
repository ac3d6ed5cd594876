"""Section `network`: what learns."""

from dataclasses import dataclass
from typing import Annotated, Literal

from recipe.bounds import Bounds, Fraction, Section


@dataclass(frozen=True)
class Network(Section):
    """What learns."""

    name: Literal[
        "cnn_small",
        "resnet_small",
        "waveform",
        "resnet18",
        "resnet34",
        "resnet50",
        "resnext50_32x4d",
        "alexnet",
        "vgg16_bn",
        "densenet121",
        "mobilenet_v3_small",
        "mobilenet_v3_large",
        "efficientnet_b0",
        "convnext_tiny",
    ] = "cnn_small"
    """A small network for CPUs, a residual one, 1-D convolutions for raw waveforms, or one of torchvision's."""
    weights: str | None = None
    """Where a torchvision network starts: `imagenet` (downloaded once), or a file of such weights."""
    channels: Literal["one", "copies", "deltas"] = "one"
    """What the first layer sees: frames (weights summed over RGB), three copies, or frames and two derivatives; of
    waveform samples, one."""
    normalise: Literal["overall", "bins", "imagenet"] = "overall"
    """By one mean and deviation, by those of each bin, or to ImageNet's brightness and colours (three copies only)."""
    pooling: Literal["mean", "mean_max", "attention"] = "mean_max"
    """How columns of time become one vector; alexnet and vgg16_bn keep their own."""
    hidden: Annotated[int, Bounds(0, 65_536)] = 0
    """Units of a hidden layer before the last; 0 is none. alexnet and vgg16_bn keep their own."""
    dropout: Fraction = 0.2
    """Dropout before each layer of the head; in those of alexnet and vgg16_bn, where theirs is."""
    modulation_units: Annotated[int, Bounds(0, 4096)] = 0
    """Units beside the trunk that hear how fast each band's loudness swings over a whole window; 0 is none."""
