"""Line charts: where points and ticks are."""

import math

import pytest

from report.media.charts import HEIGHT, WIDTH, Line, find_ticks, make_chart


def test_the_corners_of_a_chart_are_its_outer_ticks() -> None:
    chart = make_chart("title", "epoch", [Line("a", "red", [(0, 0.2), (5, 0.7), (10, math.nan)])], y_range=(0, 1))
    assert chart
    assert (chart.x_ticks[0], chart.x_ticks[-1], chart.y_ticks[0], chart.y_ticks[-1]) == (0, 5, 0, 1)
    assert chart.polyline(chart.lines[0]) == f"0.0,{0.8 * HEIGHT:.1f} {WIDTH:.1f},{0.3 * HEIGHT:.1f}"


def test_a_chart_of_no_numbers_is_none() -> None:
    assert make_chart("title", "epoch", [Line("a", "red", [(1, math.nan)]), Line("b", "red", [])]) is None


def test_a_single_point_is_drawn() -> None:
    chart = make_chart("title", "epoch", [Line("a", "red", [(1, 0.5)])])
    assert chart
    first, second = chart.polyline(chart.lines[0]).split()
    assert first == second


@pytest.mark.parametrize(
    ("low", "high"),
    [
        (1, 2),
        (1, 40),
        (1e-5, 1e-3),
        (0.1 + 0.2, 0.9),
        (-3.0, -3.0),
        (0, 0),
        (10.0, 10.00002),  # seconds of recordings that differ by a sample
        (-0.9999997, -0.9999995),
        (5.0, 5.000023),
    ],
)
def test_ticks_enclose_what_is_drawn(low: float, high: float) -> None:
    ticks = find_ticks(low, high)
    assert ticks == sorted(set(ticks))
    assert ticks[0] <= low + 1e-9
    assert ticks[-1] >= high - 1e-9
    assert len(ticks) <= 8


def test_there_is_no_tick_between_two_epochs() -> None:
    chart = make_chart("loss", "epoch", [Line("a", "red", [(1, 0.5), (2, 0.25)])])
    assert chart
    assert chart.x_ticks == [1, 2]
