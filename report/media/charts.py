"""Line charts as inline SVG: what templates/charts.html.j2 draws."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

from matplotlib.ticker import MaxNLocator

WIDTH, HEIGHT = 600, 260
"""Of a chart's lines, in its own units."""
HUE_STEP = 137.5
"""Degrees from one colour to the next one's: the golden angle, so that neighbours never look alike."""
MAX_TICKS = 6
MIN_RELATIVE_SPAN = 1e-4
"""Of what is drawn: six digits do not tell the ticks of a narrower range apart."""

Point = tuple[float, float]


def pick_colour(number: int) -> str:
    """The CSS colour of the line of a number from 0 on."""
    return f"hsl({(210 + number * HUE_STEP) % 360:.0f} 65% 50%)"


@dataclass(frozen=True)
class Line:
    """A line of a chart."""

    name: str
    colour: str
    points: Sequence[Point]
    dashed: bool = False


@dataclass(frozen=True)
class VerticalLine:
    """A vertical line of a chart."""

    x: float
    name: str


@dataclass(frozen=True)
class Chart:
    """Lines over one range of x and y, with the places of its ticks."""

    title: str
    x_label: str
    lines: Sequence[Line]
    x_ticks: Sequence[float]
    y_ticks: Sequence[float]
    vertical_lines: Sequence[VerticalLine] = ()
    width: ClassVar[int] = WIDTH
    height: ClassVar[int] = HEIGHT

    def x_of(self, value: float) -> float:
        """The place of a value of x in the chart's units."""
        return round((value - self.x_ticks[0]) / (self.x_ticks[-1] - self.x_ticks[0]) * WIDTH, 1)

    def y_of(self, value: float) -> float:
        """The place of a value of y in the chart's units, which go down."""
        return round((self.y_ticks[-1] - value) / (self.y_ticks[-1] - self.y_ticks[0]) * HEIGHT, 1)

    def polyline(self, line: Line) -> str:
        """The points of an SVG polyline; a single one stands there twice, for browsers draw nothing of one."""
        points = [*line.points, *line.points] if len(line.points) == 1 else line.points
        return " ".join(f"{self.x_of(x)},{self.y_of(y)}" for x, y in points)


def make_chart(
    title: str,
    x_label: str,
    lines: Iterable[Line],
    *,
    x_range: Point | None = None,
    y_range: Point | None = None,
    vertical_lines: Sequence[VerticalLine] = (),
) -> Chart | None:
    """A chart of the lines that have points, over these ranges or as wide as they need; None where none has any.

    Points that are no finite numbers are left out.
    """
    kept = [
        Line(line.name, line.colour, points, line.dashed)
        for line in lines
        if (points := [point for point in line.points if all(map(math.isfinite, point))])
    ]
    if not kept:
        return None
    xs, ys = zip(*(point for line in kept for point in line.points), strict=True)
    are_counts = all(isinstance(x, int) for x in xs)  # of epochs: there is none between two
    x_ticks = find_ticks(*(x_range or (min(xs), max(xs))), are_counts=are_counts)
    return Chart(title, x_label, kept, x_ticks, find_ticks(*(y_range or (min(ys), max(ys)))), vertical_lines)


def find_ticks(low: float, high: float, *, are_counts: bool = False) -> list[float]:
    """At most MAX_TICKS + 1 round numbers (whole ones of counts), from at most `low` to at least `high`."""
    if math.isclose(low, high, rel_tol=MIN_RELATIVE_SPAN):
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    is_integer = low == int(low) and high == int(high) and high - low > (0 if are_counts else 1)
    locator = MaxNLocator(MAX_TICKS, steps=[1, 2, 5, 10], integer=is_integer)
    ticks = [float(f"{tick:.6g}") for tick in locator.tick_values(low, high)]
    first = max((index for index, tick in enumerate(ticks) if tick <= low), default=0)
    last = min((index for index, tick in enumerate(ticks) if tick >= high), default=len(ticks) - 1)
    return ticks[first : last + 1]
