"""The recipe of a system: what it reads, hears, learns with and answers, as frozen dataclasses."""

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

from errors import BadInput


@dataclass(frozen=True)
class Between:
    """Bounds of a number in a recipe, both inclusive."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        return f"at least {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


Count = Annotated[int, Between(1)]
Natural = Annotated[int, Between(0)]
Share = Annotated[float, Between(0, 1)]
Seconds = Annotated[float, Between(0.001, 86_400)]


def _bounds(annotation: Any) -> Between | None:
    """The Between of `X`, `X | None` or `list[X]`."""
    if get_origin(annotation) is Annotated:
        return next((extra for extra in annotation.__metadata__ if isinstance(extra, Between)), None)
    return next((bounds for part in get_args(annotation) if (bounds := _bounds(part))), None)


class Section:
    """A part of a recipe that refuses numbers out of their bounds."""

    def __post_init__(self) -> None:
        section = type(self).__name__.lower()
        for name, annotation in get_type_hints(type(self), include_extras=True).items():
            bounds, value = _bounds(annotation), getattr(self, name)
            for number in value if isinstance(value, list | tuple) else [value]:
                if bounds and number is not None and not bounds.low <= number <= bounds.high:
                    raise BadInput(f"{section}.{name} = {number}: must be {bounds}")


@dataclass(frozen=True)
class Data(Section):
    """Which recordings there are and what is known of them."""

    layout: Literal["folders", "csv", "esc50", "fsdkaggle2019", "irmas"] = "folders"
    """How the folder is laid out; `folders` is one folder a class, `csv` a table beside a folder."""
    folder: str = ""
    """The dataset's folder."""
    table: str | None = None
    """The CSV of layout `csv`; by default labels.csv in the folder."""
    labels: list[str] | None = None
    """The vocabulary, in order; by default every label of the training clips, sorted."""
    folds: Annotated[int, Between(2, 100)] = 5
    """Number of folds, where the dataset brings none of its own."""
    seed: Natural = 0
    """Seed of the folds."""


@dataclass(frozen=True)
class Features(Section):
    """How a recording becomes frames. A store belongs to exactly one of these."""

    kind: Literal["logmel"] = "logmel"
    """Frames of what."""
    rate_hz: Annotated[int, Between(1_000, 384_000)] = 44_100
    """Recordings are resampled to this rate."""
    n_fft: Annotated[int, Between(16, 1 << 20)] = 2048
    """Samples in an analysis window (Hann)."""
    hop_samples: Annotated[int, Between(1, 1 << 20)] = 690
    """Samples between two frames."""
    n_bins: Annotated[int, Between(1, 4096)] = 128
    """Bins of a frame: mel bands, for logmel."""
    fmin_hz: Annotated[float, Between(0)] = 20.0
    """Lower edge of the lowest band."""
    fmax_hz: Annotated[float, Between(1)] | None = None
    """Upper edge of the highest band; by default half the rate."""
    storage: Literal["float16", "uint8"] = "float16"
    """Type of the stored frames."""


@dataclass(frozen=True)
class Network(Section):
    """What learns."""

    name: str = "cnn_small"
    """A network of train/networks.py: cnn_small, or one of torchvision's by name."""
    dropout: Share = 0.2
    """Dropout before the last layer."""


@dataclass(frozen=True)
class Training(Section):
    """How it learns."""

    epochs: Count = 60
    """Passes over the training clips."""
    batch_size: Count = 32
    """Clips in a batch."""
    crop_seconds: Seconds = 3.0
    """Length of a random crop."""
    seed: Natural = 0
    """Seed of weights, crops and mixing; each fold draws its own from it."""
    max_lr: Annotated[float, Between(1e-8, 100)] = 3e-3
    """Highest learning rate of the schedule."""
    weight_decay: Annotated[float, Between(0, 10)] = 0.01
    """Decoupled weight decay."""
    metric: Literal["lwlrap", "map", "accuracy", "f1_micro", "f1_macro"] = "lwlrap"
    """The score of the held-out fold that names the best epoch."""


@dataclass(frozen=True)
class Prediction(Section):
    """How it answers, for held-out folds as for new recordings."""

    window_seconds: Seconds = 3.0
    """Length of a window."""
    hop_seconds: Seconds = 1.0
    """From one window's start to the next's."""
    pooling: Literal["mean", "max"] = "mean"
    """How a clip's windows become one score a label."""


@dataclass(frozen=True)
class Recipe:
    """A whole system. The name is that of its file, and of its folder under cache/."""

    name: str = "recipe"
    data: Data = field(default_factory=Data)
    features: Features = field(default_factory=Features)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    prediction: Prediction = field(default_factory=Prediction)


SECTIONS: dict[str, type[Section]] = {f.name: get_type_hints(Recipe)[f.name] for f in fields(Recipe) if f.name != "name"}


def as_dict(part: Recipe | Section) -> dict[str, Any]:
    """Plain values of a recipe or a section, ready for JSON or YAML."""
    return asdict(part)  # type: ignore[call-overload]
