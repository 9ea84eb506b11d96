"""Draws what was measured against size, as an SVG file."""

import math
from collections.abc import Sequence
from html import escape

Series = dict[str, list[tuple[float, float]]]
"""For each name, its points (size, value), all above zero."""
Panel = tuple[str, str, Series]
"""A title, a unit and the series."""

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf")
WIDTH, HEIGHT, LEFT, TOP = 420, 300, 70, 40


def decades(values: Sequence[float]) -> tuple[int, int]:
    """The powers of ten that hold all of `values`."""
    low = math.floor(math.log10(min(values)))
    return low, max(low + 1, math.ceil(math.log10(max(values))))


def svg(panels: Sequence[Panel]) -> str:
    """One drawing with the panels side by side; both axes are logarithmic."""
    whole = len(panels) * (WIDTH + LEFT + 30)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{whole}" height="{HEIGHT + 130}"'
        ' font-family="sans-serif" font-size="12">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for number, (title, unit, series) in enumerate(panels):
        shift = number * (WIDTH + LEFT + 30) + LEFT
        parts.append(f'<g transform="translate({shift},{TOP})">')
        parts += panel(f"{title} ({unit})", series)
        parts.append("</g>")
    return "\n".join((*parts, "</svg>", ""))


def panel(title: str, series: Series) -> list[str]:
    """One panel's elements, drawn from its own upper left corner."""
    points = [point for line in series.values() for point in line]
    left, right = decades([size for size, _ in points])
    low, high = decades([value for _, value in points])

    def across(size: float) -> float:
        return round((math.log10(size) - left) / (right - left) * WIDTH, 1)

    def down(value: float) -> float:
        return round(HEIGHT - (math.log10(value) - low) / (high - low) * HEIGHT, 1)

    parts = [f'<text x="0" y="-14" font-size="14">{escape(title)}</text>']
    for power in range(left, right + 1):
        x = across(10.0**power)
        parts.append(f'<path d="M{x},0V{HEIGHT}" stroke="#ddd"/>')
        parts.append(f'<text x="{x}" y="{HEIGHT + 18}" text-anchor="middle">{10**power:,}</text>')
    for power in range(low, high + 1):
        y = down(10.0**power)
        parts.append(f'<path d="M0,{y}H{WIDTH}" stroke="#ddd"/>')
        parts.append(f'<text x="-8" y="{y + 4}" text-anchor="end">{10.0**power:g}</text>')
    for number, (name, line) in enumerate(series.items()):
        colour = COLOURS[number % len(COLOURS)]
        path = "L".join(f"{across(size)},{down(value)}" for size, value in line)
        parts.append(f'<path d="M{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for size, value in line:
            parts.append(f'<circle cx="{across(size)}" cy="{down(value)}" r="3" fill="{colour}"/>')
        x, y = number % 2 * 210, HEIGHT + 42 + number // 2 * 18
        parts.append(f'<text x="{x}" y="{y}" fill="{colour}">{escape(name)}</text>')
    return parts
