"""Line charts as SVG, without a library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 760, 300  #: of a panel, with its margins
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 34, 40
TICKS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """One without a label is not named in the legend."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two lines."""

    label: str
    xs: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    y_range: tuple[float, float]
    bands: Sequence[Band]
    lines: Sequence[Line]


def svg(panels: Sequence[Panel], *, x_label: str, x_range: tuple[float, float]) -> str:
    """The panels below each other, over the same x axis. What lies outside of a range is cut off."""
    height = HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
    ]
    for number, panel in enumerate(panels):
        parts += [f'<g transform="translate(0 {number * HEIGHT})">', *_panel(panel, number, x_label, x_range), "</g>"]
    return "\n".join([*parts, "</svg>", ""])


def _panel(panel: Panel, number: int, x_label: str, x_range: tuple[float, float]) -> list[str]:
    plot_width, plot_height = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    (x_low, x_high), (y_low, y_high) = x_range, panel.y_range

    def x(value: float) -> float:
        return LEFT + (value - x_low) / (x_high - x_low) * plot_width

    def y(value: float) -> float:
        return TOP + (y_high - value) / (y_high - y_low) * plot_height

    def points(xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, ys, strict=True))

    frame = f'x="{LEFT}" y="{TOP}" width="{plot_width}" height="{plot_height}"'
    parts = [
        f'<clipPath id="plot{number}"><rect {frame}/></clipPath>',
        f'<text x="{LEFT}" y="20" font-weight="bold">{escape(panel.title)}</text>',
    ]
    for step in range(TICKS + 1):
        at_x, at_y = x_low + (x_high - x_low) * step / TICKS, y_low + (y_high - y_low) * step / TICKS
        parts += [
            f'<path d="M{LEFT} {y(at_y):.1f}H{LEFT + plot_width}" stroke="#e4e4e4"/>',
            f'<text x="{LEFT - 6}" y="{y(at_y) + 4:.1f}" text-anchor="end">{at_y:.2f}</text>',
            f'<text x="{x(at_x):.1f}" y="{TOP + plot_height + 16}" text-anchor="middle">{at_x:g}</text>',
        ]
    middle = LEFT + plot_width / 2
    parts.append(f'<text x="{middle}" y="{TOP + plot_height + 32}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<g clip-path="url(#plot{number})">')
    for band in panel.bands:
        area = f"{points(band.xs, band.low)} {points(band.xs[::-1], band.high[::-1])}"
        parts.append(f'<polygon points="{area}" fill="{band.colour}"/>')
    for line in panel.lines:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        drawn = f'fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}'
        parts.append(f'<polyline points="{points(line.xs, line.ys)}" {drawn}/>')
    parts += ["</g>", f'<rect {frame} fill="none" stroke="#888"/>']
    named = [(item.label, item.colour) for item in (*panel.bands, *panel.lines) if item.label]
    for place, (label, colour) in enumerate(named):
        top = TOP + 8 + 17 * place
        parts += [
            f'<rect x="{WIDTH - RIGHT - 232}" y="{top}" width="12" height="12" fill="{colour}"/>',
            f'<text x="{WIDTH - RIGHT - 214}" y="{top + 10}">{escape(label)}</text>',
        ]
    return parts
