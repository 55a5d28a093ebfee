"""The legend of a chart, as part of the page: it wraps where a chart cannot."""

from __future__ import annotations

from dataclasses import dataclass

from edge_asc_bench.drawing import COLOURS, HATCHES, ON_SERIES, Look

# Markers of matplotlib as paths in a square of 12, around 6, 6.
SHAPES = {
    "o": "M2.5 6a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "s": "M2.8 2.8h6.4v6.4h-6.4z",
    "D": "M6 1.8L10.2 6L6 10.2L1.8 6z",
    "^": "M6 2L10 9.6H2z",
    "v": "M6 10L10 2.4H2z",
    "P": "M4.5 2h3v2.5h2.5v3h-2.5v2.5h-3v-2.5h-2.5v-3h2.5z",
    "X": "M2 4L4 2L6 4L8 2L10 4L8 6L10 8L8 10L6 8L4 10L2 8L4 6z",
}
# Strokes of hatches in a square of 12.
STROKES = {
    "////": "M0 4L4 0M0 12L12 0M8 12L12 8",
    "....": "M3 3h.1M9 3h.1M3 9h.1M9 9h.1",
    "\\\\\\\\": "M8 0L12 4M0 0L12 12M0 8L4 12",
    "xxxx": "M0 0L12 12M12 0L0 12",
}


@dataclass(frozen=True)
class Key:
    """An entry of a legend.

    Attributes:
        name: of what is drawn.
        swatch: its look, SVG.
        number: of the series, which the page can hide; None for a part of each series.
    """

    name: str
    swatch: str
    number: int | None = None


def make_line(number: int, name: str) -> Key:
    """Return the entry of a series that is drawn as a line with points."""
    look = Look.of(number)
    point = f'<path d="{SHAPES[look.marker]}" style="fill: {_colour(number)}" transform="translate(8 0)"/>'
    return Key(name, _to_svg(28, _draw_stroke(number, 0, 28) + point), number)


def make_label(number: int, name: str) -> Key:
    """Return the entry of a label: the look of its part of a strip, and that of its line."""
    return Key(name, _to_svg(28, _draw_fill(number, 1) + _draw_stroke(number, 14, 28)))


def make_fill(number: int, name: str) -> Key:
    """Return the entry of a part of a bar."""
    return Key(name, _to_svg(12, _draw_fill(number, 0.7)))


def _to_svg(width: int, content: str) -> str:
    size = f'viewBox="0 0 {width} 12" width="{width}" height="12"'
    return f'<svg class="swatch" {size} aria-hidden="true">{content}</svg>'


def _draw_stroke(number: int, start: int, end: int) -> str:
    dashes = " ".join(f"{length:g}" for length in Look.of(number).dashes)
    stroke = f"fill: none; stroke: {_colour(number)}; stroke-dasharray: {dashes or 'none'}"
    return f'<path d="M{start} 6H{end}" style="{stroke}" stroke-width="1.8"/>'


def _draw_fill(number: int, opacity: float) -> str:
    ground = f'<path d="M0 0H12V12H0z" style="fill: {_colour(number)}" fill-opacity="{opacity:g}"/>'
    hatch = HATCHES[number % len(HATCHES)]
    style = f"fill: none; stroke: var(--on-series, {ON_SERIES})"
    return ground + (f'<path d="{STROKES[hatch]}" style="{style}" stroke-linecap="round"/>' if hatch else "")


def _colour(number: int) -> str:
    i = number % len(COLOURS)
    return f"var(--series-{i}, {COLOURS[i]})"
