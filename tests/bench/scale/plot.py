"""A line chart as SVG: small, the same bytes for the same numbers, legible on light and dark."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Final

WIDTH, HEIGHT = 680, 360
LEFT, RIGHT, TOP, BOTTOM = 72, 220, 40, 52
COLOURS: Final = ("#3b82f6", "#e8590c", "#2f9e44", "#ae3ec9")
"""Each has a contrast of 3 or more to white and to the near-black of dark pages, and so has the
text: a picture does not know which of the two it stands on."""

MARKS: Final = ("circle", "square", "triangle", "diamond")
STYLE: Final = """\
text { font: 13px system-ui, sans-serif; fill: #6e7781; }
.title { font-weight: 600; font-size: 15px; }
.line { fill: none; stroke-width: 2.5; }
.grid { stroke: #8b949e; stroke-opacity: 0.35; }
"""


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        places: The words below the x axis, in order; distances mean nothing.
        series: By name, a value at each place; None where there is none.
        logarithmic: Whether a step up is ten times as much; else the y axis begins at 0.
    """

    title: str
    x_label: str
    y_label: str
    places: Sequence[str]
    series: Mapping[str, Sequence[float | None]]
    logarithmic: bool = False


def draw(chart: Chart) -> str:
    """Return the chart as the text of an SVG file."""
    ticks = _ticks(chart)
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{escape(chart.title)}</title>",
        f"<style>\n{STYLE}</style>",
        _text(LEFT, 24, chart.title, "start", ' class="title"'),
        _text(middle, HEIGHT - 12, chart.x_label),
        f'<g transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2:g}) rotate(-90)">',
        _text(0, 0, chart.y_label),
        "</g>",
    ]
    for tick in ticks:
        y = _y(tick, ticks, chart)
        parts.append(f'<path class="grid" d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(_text(LEFT - 8, y + 4, f"{tick:,g}", "end"))
    for number, place in enumerate(chart.places):
        parts.append(_text(_x(number, chart), HEIGHT - BOTTOM + 20, place))
    for number, (name, values) in enumerate(chart.series.items()):
        colour = COLOURS[number % len(COLOURS)]
        points = [
            (_x(place, chart), _y(value, ticks, chart))
            for place, value in enumerate(values)
            if value is not None
        ]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline class="line" stroke="{colour}" points="{line}"/>')
        at = TOP + 14 + 24 * number
        parts += [_mark(number, x, y, colour) for x, y in [*points, (WIDTH - RIGHT + 22, at)]]
        parts.append(_text(WIDTH - RIGHT + 34, at + 4, name, "start"))
    return "\n".join([*parts, "</svg>", ""])


def _ticks(chart: Chart) -> list[float]:
    values = [one for values in chart.series.values() for one in values if one]
    highest, lowest = max(values, default=1.0), min(values, default=1.0)
    if chart.logarithmic:
        exponents = range(floor(log10(lowest)), max(ceil(log10(highest)), 1 + floor(log10(lowest))))
        return [10.0**exponent for exponent in (*exponents, exponents.stop)]
    step = 10.0 ** floor(log10(highest))
    step = next(step * part for part in (0.2, 0.5, 1.0, 2.0) if highest / (step * part) <= 6)
    return [step * number for number in range(ceil(highest / step) + 1)]


def _x(place: int, chart: Chart) -> float:
    width = (WIDTH - RIGHT - LEFT) / len(chart.places)
    return LEFT + width * (place + 0.5)


def _y(value: float, ticks: Sequence[float], chart: Chart) -> float:
    scale = log10 if chart.logarithmic else float
    low, high = scale(ticks[0]), scale(ticks[-1])
    return TOP + (HEIGHT - BOTTOM - TOP) * (high - scale(value)) / (high - low)


def _text(x: float, y: float, text: str, anchor: str = "middle", more: str = "") -> str:
    return f'<text x="{x:g}" y="{y:.1f}" text-anchor="{anchor}"{more}>{escape(text)}</text>'


def _mark(number: int, x: float, y: float, colour: str) -> str:
    shape = {
        "circle": "M-4.5 0a4.5 4.5 0 1 0 9 0a4.5 4.5 0 1 0 -9 0",
        "square": "M-4 -4h8v8h-8z",
        "triangle": "M0 -5l5 9h-10z",
        "diamond": "M0 -5.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z",
    }[MARKS[number % len(MARKS)]]
    return f'<path transform="translate({x:.1f} {y:.1f})" fill="{colour}" d="{shape}"/>'
