"""Line plots as SVG text, written by hand: no plotting library is among the dependencies.

charts = [lines({"chosen": [(0, -40.1), (5, -38.2)]}, "Log-probability", "nats")]
write_atomically(folder / "training.svg", page("dpo", charts))
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

Points = Sequence[tuple[float, float]]

WIDTH, HEIGHT = 720, 260
LEFT, RIGHT, TOP, BOTTOM = 72, 16, 34, 40  # margins around the plot, in pixels
TITLE = 34  # the page's own title
# Okabe and Ito's colours, told apart by colour-blind readers too: https://jfly.uni-koeln.de/color/
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
DASHES = ("", "6 3", "2 3")  # and by dash: where lines lie on one another, or a page is black


def lines(
    series: Mapping[str, Points], title: str, y_label: str = "", x_label: str = "step"
) -> str:
    """One chart with a line for each series: axes, ticks, labels, legend.

    Points that are not finite are left out; a series of one point is drawn as a dot.

    Args:
        series: points (x, y) by the name that the legend shows, in order of x.
    """
    kept = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in series.items()
    }
    every = [point for points in kept.values() for point in points]
    body = [_text(LEFT, 16, title, weight="bold")]
    if not every:
        body.append(_text(LEFT, HEIGHT / 2, "nothing was measured"))
        return _svg(body, WIDTH, HEIGHT)
    x_ticks, y_ticks = ticks(x for x, _ in every), ticks(y for _, y in every)

    def at(x: float, y: float) -> tuple[float, float]:
        across = (x - x_ticks[0]) / (x_ticks[-1] - x_ticks[0])
        up = (y - y_ticks[0]) / (y_ticks[-1] - y_ticks[0])
        plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
        return LEFT + across * plot_width, HEIGHT - BOTTOM - up * plot_height

    for y in y_ticks:
        (x0, height), (x1, _) = at(x_ticks[0], y), at(x_ticks[-1], y)
        body.append(f'<path d="M{x0:.1f} {height:.1f}H{x1:.1f}" stroke="#ddd"/>')
        body.append(_text(LEFT - 6, height + 4, f"{y:g}", anchor="end"))
    for x in x_ticks:
        body.append(_text(at(x, 0)[0], HEIGHT - BOTTOM + 16, f"{x:g}", anchor="middle"))
    body.append(_text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, x_label, anchor="middle"))
    body.append(
        f'<g transform="rotate(-90)">{_text(-HEIGHT / 2, 14, y_label, anchor="middle")}</g>'
    )
    for number, (name, points) in enumerate(kept.items()):
        beside = WIDTH - RIGHT - 130 * (len(kept) - number)
        body += _line(number, name, [at(x, y) for x, y in points], beside)
    return _svg(body, WIDTH, HEIGHT)


def _line(number: int, name: str, places: Points, beside: float) -> list[str]:
    """A chart's line, its dots where they are few, and its place in the legend."""
    colour, dash = COLOURS[number % len(COLOURS)], DASHES[number % len(DASHES)]
    style = f'stroke="{colour}" stroke-width="1.6" stroke-dasharray="{dash}"'
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    dots = places if len(places) <= 12 else ()
    return [
        f'<polyline points="{path}" fill="none" {style}/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.4" fill="{colour}"/>' for x, y in dots),
        f'<path d="M{beside} 12h18" {style}/>',
        _text(beside + 23, 16, name),
    ]


def page(title: str, charts: Sequence[str]) -> str:
    """Charts below one another in one SVG file."""
    below = [
        chart.replace("<svg ", f'<svg y="{TITLE + number * HEIGHT}" ', 1)
        for number, chart in enumerate(charts)
    ]
    body = [_text(LEFT, 22, title, weight="bold"), *below]
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + _svg(
        body, WIDTH, TITLE + len(charts) * HEIGHT
    )


def ticks(values: Iterable[float]) -> list[float]:
    """Four to eight round numbers (1, 2 or 5 times a power of ten) that enclose the values."""
    numbers = list(values)
    low, high = min(numbers), max(numbers)
    if high == low:  # a level line still needs a scale
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    rough = (high - low) / 5
    power = 10.0 ** math.floor(math.log10(rough))
    step = power * next(nice for nice in (1, 2, 5, 10) if nice * power >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 12) for number in range(first, last + 1)]


def _text(x: float, y: float, words: str, anchor: str = "start", weight: str = "normal") -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}"'
    return f"<text {place}>{escape(words)}</text>"


def _svg(body: Sequence[str], width: float, height: float) -> str:
    inside = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="white"/>\n{inside}\n</svg>\n'
    )
