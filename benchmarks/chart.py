"""Line charts as SVG, without a library."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 300  #: of a panel, with its margins
LEFT, RIGHT, TOP, BOTTOM = 56, 310, 34, 40  #: the legend is on the right
TICKS = 6  #: of the x axis


@dataclass(frozen=True, slots=True)
class Line:
    """A line. Without a label it is not in the legend."""

    label: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str
    dashed: bool = False


@dataclass(frozen=True, slots=True)
class Panel:
    """A panel. `ticks` are the marks of the y axis, the first and last its ends; `log` selects a logarithmic axis."""

    title: str
    ticks: Sequence[float]
    lines: Sequence[Line]
    log: bool = False
    percent: bool = False


def svg(panels: Sequence[Panel], *, x_label: str, x_range: tuple[float, float]) -> str:
    """Draw the panels below each other, with one x axis. Values outside the range are cut off."""
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
    scale = math.log10 if panel.log else float
    (x_low, x_high), y_low, y_high = x_range, scale(panel.ticks[0]), scale(panel.ticks[-1])

    def x(value: float) -> float:
        return LEFT + (value - x_low) / (x_high - x_low) * plot_width

    def y(value: float) -> float:
        return TOP + (y_high - scale(max(value, 1e-9))) / (y_high - y_low) * plot_height

    def points(xs: Sequence[float], ys: Sequence[float]) -> str:
        return " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in zip(xs, ys, strict=True))

    frame = f'x="{LEFT}" y="{TOP}" width="{plot_width}" height="{plot_height}"'
    parts = [
        f'<clipPath id="plot{number}"><rect {frame}/></clipPath>',
        f'<text x="{LEFT}" y="20" font-weight="bold">{escape(panel.title)}</text>',
    ]
    for tick in panel.ticks:
        shown = f"{tick * 100:g}%" if panel.percent else f"{tick:g}"
        parts.append(f'<path d="M{LEFT} {y(tick):.1f}H{LEFT + plot_width}" stroke="#e4e4e4"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{shown}</text>')
    for step in range(TICKS + 1):
        at = x_low + (x_high - x_low) * step / TICKS
        parts.append(f'<text x="{x(at):.1f}" y="{TOP + plot_height + 16}" text-anchor="middle">{at:g}</text>')
    middle = LEFT + plot_width / 2
    parts.append(f'<text x="{middle}" y="{TOP + plot_height + 32}" text-anchor="middle">{escape(x_label)}</text>')
    parts.append(f'<g clip-path="url(#plot{number})">')
    for line in panel.lines:
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        drawn = f'fill="none" stroke="{line.colour}" stroke-width="1.6"{dash}'
        parts.append(f'<polyline points="{points(line.xs, line.ys)}" {drawn}/>')
    parts += ["</g>", f'<rect {frame} fill="none" stroke="#888"/>']
    named = [(line.label, line.colour) for line in panel.lines if line.label]
    left = WIDTH - RIGHT + 14
    for place, (label, colour) in enumerate(named):
        top = TOP + 8 + 17 * place
        parts.append(f'<rect x="{left}" y="{top}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{left + 18}" y="{top + 10}">{escape(label)}</text>')
    return parts
