"""The recipe of a system: data, features, network, training and prediction, as frozen dataclasses."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from recipe.bounds import Section
from recipe.data import Data
from recipe.features import Features
from recipe.network import Network
from recipe.prediction import Prediction, Tuning
from recipe.training import Training

__all__ = ["Data", "Features", "Network", "Prediction", "Training", "Tuning"]


@dataclass(frozen=True)
class Recipe:
    """A whole system. The name is that of its file, and of its folder under cache/."""

    name: str = "recipe"
    data: Data = field(default_factory=Data)
    features: Features = field(default_factory=Features)
    network: Network = field(default_factory=Network)
    training: Training = field(default_factory=Training)
    prediction: Prediction = field(default_factory=Prediction)
    tuning: Tuning = field(default_factory=Tuning)


SECTIONS: dict[str, type[Section]] = {
    section.__name__.lower(): section for section in (Data, Features, Network, Training, Prediction, Tuning)
}


def as_dict(part: Recipe | Section) -> dict[str, Any]:
    """Plain values of a recipe or a section, as JSON and YAML give them back: tuples are lists."""
    values: dict[str, Any] = json.loads(json.dumps(asdict(part)))
    return values


def get_section(values: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A section of a recipe as it was read, maybe another version's; empty where there is none."""
    section = values.get(name)
    return section if isinstance(section, dict) else {}
