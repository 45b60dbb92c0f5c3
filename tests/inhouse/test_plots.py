"""Plots: the ticks, the place of a point, and that what comes out is SVG."""

import math
import xml.etree.ElementTree as ET

import pytest

from inhouse.plots import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, lines, page, ticks

SVG = "{http://www.w3.org/2000/svg}"


def of_kind(svg: str, kind: str) -> list[ET.Element]:
    return list(ET.fromstring(svg.encode()).iter(SVG + kind))


def words(svg: str) -> list[str]:
    return [element.text or "" for element in of_kind(svg, "text")]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0, 10], [0, 2, 4, 6, 8, 10]),
        ([0.03, 0.97], [0, 0.2, 0.4, 0.6, 0.8, 1.0]),
        ([-53.4, -42.1], [-55, -50, -45, -40]),
        ([7, 7], [2, 4, 6, 8, 10, 12]),  # from 3.5 to 10.5: steps of two
        ([0, 0], [-0.6, -0.4, -0.2, 0, 0.2, 0.4, 0.6]),
    ],
)
def test_ticks_are_round_and_enclose_the_values(values, expected):
    assert ticks(values) == pytest.approx(expected)
    assert expected[0] <= min(values) and max(values) <= expected[-1]


def test_a_point_stands_where_its_axes_say():
    # Ticks 0 … 10 on both axes, so (0, 0) is the lower left corner, (10, 10) the upper right one,
    # and (5, 5) half-way between them.
    [line] = of_kind(lines({"a": [(0, 0), (5, 5), (10, 10)]}, "t"), "polyline")
    across, down = (LEFT + WIDTH - RIGHT) / 2, (TOP + HEIGHT - BOTTOM) / 2
    places = [tuple(map(float, point.split(","))) for point in line.get("points").split()]
    assert places == [(LEFT, HEIGHT - BOTTOM), (across, down), (WIDTH - RIGHT, TOP)]


def test_a_chart_names_its_series_axes_and_title():
    svg = lines({"chosen": [(1, 2.0), (2, 3.0)], "rejected": [(1, 1.0)]}, "Margin", "nats", "epoch")
    assert {"Margin", "nats", "epoch", "chosen", "rejected"} <= set(words(svg))
    first, second = of_kind(svg, "polyline")
    assert first.get("stroke") != second.get("stroke")


def test_what_is_not_finite_is_left_out_and_a_single_point_is_a_dot():
    svg = lines({"a": [(0, math.nan), (1, 2.0), (2, math.inf)]}, "t")
    [line] = of_kind(svg, "polyline")
    assert len(line.get("points").split()) == 1
    assert len(of_kind(svg, "circle")) == 1


def test_no_point_at_all_says_so():
    assert "nothing was measured" in words(lines({"a": []}, "t"))


def test_a_name_cannot_break_the_file():
    svg = page("<b> & co", [lines({"a<b": [(0, 1)]}, "1 < 2")])
    assert {"<b> & co", "a<b", "1 < 2"} <= set(words(svg))


def test_a_page_stacks_its_charts():
    chart = lines({"a": [(0, 1), (1, 2)]}, "t")
    svg = page("dpo", [chart, chart, chart])
    inner = of_kind(svg, "svg")[1:]
    assert [int(one.get("y")) for one in inner] == [34, 34 + HEIGHT, 34 + 2 * HEIGHT]
    assert int(ET.fromstring(svg.encode()).get("height")) == 34 + 3 * HEIGHT
