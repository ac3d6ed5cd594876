"""The recipe of a system: what it reads, hears, learns with and answers, as frozen dataclasses."""

from dataclasses import asdict, dataclass, field, fields
from typing import Any, get_type_hints

from recipe.bounds import Section
from recipe.data import Data
from recipe.features import Features
from recipe.network import Network
from recipe.prediction import Prediction, Tuning
from recipe.training import Training

__all__ = ["SECTIONS", "Data", "Features", "Network", "Prediction", "Recipe", "Training", "Tuning", "as_dict"]


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
    f.name: get_type_hints(Recipe)[f.name] for f in fields(Recipe) if f.name != "name"
}


def as_dict(part: Recipe | Section) -> dict[str, Any]:
    """Plain values of a recipe or a section, ready for JSON or YAML."""
    return asdict(part)
