"""A section of a recipe: a frozen dataclass whose numbers have bounds."""

import math
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_type_hints

from core.errors import UserError


@dataclass(frozen=True)
class Bounds:
    """Inclusive bounds of a number in a recipe."""

    low: float
    high: float = math.inf

    def __str__(self) -> str:
        return f"at least {self.low:g}" if math.isinf(self.high) else f"between {self.low:g} and {self.high:g}"


PositiveInt = Annotated[int, Bounds(1)]
NonNegativeInt = Annotated[int, Bounds(0)]
Fraction = Annotated[float, Bounds(0, 1)]
Seconds = Annotated[float, Bounds(0.001, 86_400)]


def _find_bounds(annotation: Any) -> Bounds | None:
    """The Bounds within `X`, `X | None`, `list[X]` or `tuple[X, X]`."""
    if isinstance(annotation, Bounds):
        return annotation
    return next((bounds for part in get_args(annotation) if (bounds := _find_bounds(part))), None)


@dataclass(frozen=True)
class Section:
    """A part of a recipe; raises UserError for numbers out of bounds, and keys without the value that they need."""

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012 (a ClassVar is among the fields of a dataclass)

    def __post_init__(self) -> None:
        section = type(self).__name__.lower()
        for name, annotation in get_type_hints(type(self), include_extras=True).items():
            bounds, value = _find_bounds(annotation), getattr(self, name)
            if value is None and type(None) not in get_args(annotation):
                raise UserError(f"{section}.{name} has no value: write one, or leave the key out")
            for number in value if isinstance(value, list | tuple) else [value]:
                if bounds and isinstance(number, int | float) and not bounds.low <= number <= bounds.high:
                    raise UserError(f"{section}.{name} = {number}: must be {bounds}")
