"""SVG drawings that follow the page: its colours, light or dark, its font, and its width."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from html import escape
from typing import Any, TypeAlias
from urllib.parse import quote, unquote

from edge_asc.errors import require
from edge_asc.text import escape_controls
from edge_asc_bench.markup import escape_xml

# matplotlib has no types: its objects, and the keywords that it takes.
Axes: TypeAlias = Any
Axis: TypeAlias = Any
Panels: TypeAlias = Any

# Stands for the page's text colour until the drawing is done; no other part has it.
INK = "#010203"
# Stands for the colour of text on a ground of a series' colour.
ON_SERIES = "#fdfcfb"
# Distinct for the colour-blind, after Okabe and Ito; each has a contrast of 3 to 1 and more with white. The page gives
# lighter ones of the same hues on a dark ground, as --series-0, --series-1 and so on.
COLOURS = ("#0068a5", "#b84a00", "#00795a", "#a33b7c", "#5b6472", "#7d6200", "#5340c0")
MARKERS = "osD^vPX"
# Lengths of strokes and gaps, points; () is a whole line.
DASHES: tuple[tuple[float, ...], ...] = ((), (5, 2), (1.5, 1.5), (7, 2, 1.5, 2), (3, 1, 1, 1))
HATCHES = ("", "////", "....", "\\\\\\\\", "xxxx")
# Widths of drawings, inches: for most screens and paper, and for phones. Letters are of one size in both.
WIDE, NARROW = 6.2, 3.0
FILE_WIDTH = 720  # of a drawing that is a file of its own, pixels
LONGEST_NAME = {WIDE: 60, NARROW: 30}
STYLE: dict[str, str | float | bool] = {
    "svg.fonttype": "none",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
    # Room, inches, for letters that the page's font makes wider than they were measured.
    "figure.constrained_layout.w_pad": 0.1,
    # Dollar signs in names are no formulas.
    "text.parse_math": False,
}
SERIES, POINT = "series:", "point:"
GROUP = re.compile(r'<g id="([^"]*)">')
FONT = re.compile(r" font-family: [^;\"]*;")


@dataclass(frozen=True)
class Canvas:
    """The frame of a drawing.

    Attributes:
        title: of the drawing, for those who do not see it.
        height, width: inches.
        description: of the content, for those who do not see it; "" for none.
    """

    title: str
    height: float
    width: float = WIDE
    description: str = ""


@dataclass(frozen=True)
class Look:
    """The look of a series; two series differ in more than their colour."""

    colour: str
    marker: str
    dashes: tuple[float, ...]
    hatch: str

    @classmethod
    def of(cls, series: int) -> Look:
        """Return the look of the series of this number."""
        i = series
        return cls(
            COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)], DASHES[i % len(DASHES)], HATCHES[i % len(HATCHES)]
        )

    @property
    def line(self) -> dict[str, object]:
        """Keywords of `Axes.plot` for a line."""
        return {"color": self.colour, "ls": (0, self.dashes) if self.dashes else "-", "lw": 1.6}

    @property
    def link(self) -> dict[str, object]:
        """Keywords of `Axes.plot` for a line that joins points, which matter more."""
        return {**self.line, "lw": 1.0, "alpha": 0.75}

    @property
    def point(self) -> dict[str, object]:
        """Keywords of `Axes.plot` for a point."""
        return {"color": self.colour, "marker": self.marker, "ms": 5.5, "ls": "none"}


class Drawing:
    """Holds a chart once it is drawn."""

    svg = ""


def name_series(number: int) -> str:
    """Return the `gid` of a part that belongs to a series; the page can hide a series."""
    return f"{SERIES}{number}"


def name_point(number: int, text: str) -> str:
    """Return the `gid` of a point of a series, with the text that the page shows for it."""
    return f"{POINT}{number}:{quote(_to_xml(text), safe='')}"


@contextmanager
def chart(canvas: Canvas) -> Iterator[tuple[Axes, Drawing]]:
    """Yield axes to draw on; the drawing holds the SVG afterwards."""
    with panels(canvas, 1, 1) as (((axes,),), drawing):
        yield axes, drawing


@contextmanager
def panels(
    canvas: Canvas, rows: int, columns: int, *, shared: bool | str = False, ratios: Sequence[float] | None = None
) -> Iterator[tuple[Panels, Drawing]]:
    """Yield rows of axes to draw on; the drawing holds the SVG afterwards.

    Args:
        canvas: of the drawing.
        rows, columns: of axes.
        shared: whether all axes have the same limits; "x" for the horizontal ones alone.
        ratios: heights of the rows, as multiples of each other.
    """
    matplotlib = require("matplotlib", "bench")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    drawing = Drawing()
    # Identifiers inside the drawings of a page differ.
    salt = _to_xml(f"{canvas.title} {canvas.description} {canvas.width}")
    with matplotlib.rc_context({**STYLE, "svg.hashsalt": salt, "font.size": 10 if canvas.width >= WIDE else 9}):
        figure = Figure(figsize=(canvas.width, canvas.height))
        backend = FigureCanvasSVG(figure)
        share_x, share_y = bool(shared), shared is True
        grid = figure.subplots(rows, columns, squeeze=False, sharex=share_x, sharey=share_y, height_ratios=ratios)
        for axes in grid.flat:
            axes.grid(alpha=0.3, lw=0.6)
            axes.set_axisbelow(True)
        yield grid, drawing
        for label in figure.findobj(Text):
            label.set_text(_to_xml(label.get_text()))
        text = io.StringIO()
        with warnings.catch_warnings():
            # The page's own font draws the text; matplotlib's, which may lack a character, only measures it.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            backend.print_svg(text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    drawing.svg = _to_page(text.getvalue(), canvas)


def fit(draw: Callable[[float], str]) -> str:
    """Return a drawing twice, WIDE and NARROW; the page shows the one that fits.

    Args:
        draw: draws at a width, inches.
    """
    return draw(WIDE) + draw(NARROW)


def _to_page(svg: str, canvas: Canvas) -> str:
    """Turn a file of matplotlib's into an element of the page."""
    _, box, rest = svg.replace(INK, "currentColor").partition("viewBox=")
    # Only the size in its own units stays, so that the page scales it; the background is the page's.
    tag, _, content = rest.partition(">")
    content = re.sub(r'<style type="text/css">.*?</style>', "", content, flags=re.DOTALL)
    content = content.replace('style="fill: #ffffff"', 'style="fill: none"')
    for i, colour in enumerate(COLOURS):
        content = content.replace(colour, f"var(--series-{i}, {colour})")
    content = content.replace(ON_SERIES, f"var(--on-series, {ON_SERIES})")
    content = GROUP.sub(_to_group, FONT.sub("", content))
    title, description = (escape(_to_xml(text)) for text in (canvas.title, canvas.description))
    name = "chart-" + sha256((title + description + tag + content).encode(errors="replace")).hexdigest()[:10]
    about = f'<title id="{name}">{title}</title>'
    described = ""
    if description:
        described = f' aria-describedby="{name}-about"'
        about += f'<desc id="{name}-about">{description}</desc>'
    size = "wide-chart" if canvas.width >= WIDE else "narrow-chart"
    # Line ends are inherited from the root: a style sheet inside the drawing would hold for the whole page.
    strokes = 'stroke-linejoin="round" stroke-linecap="butt"'
    start = f'<svg class="chart {size}" role="img" aria-labelledby="{name}"{described} {strokes}'
    return f"{start} {box}{tag}>{about}{content}"


def _to_xml(text: str) -> str:
    """Text that XML can hold, and that shows as it stands."""
    return escape_xml(escape_controls(text, keep="\n"))


def _to_group(match: re.Match[str]) -> str:
    """A group with the series that it belongs to and the text of its point; matplotlib's own names are left out."""
    name = match[1]
    if name.startswith(SERIES):
        return f'<g data-series="{name.removeprefix(SERIES)}">'
    if name.startswith(POINT):
        number, _, text = name.removeprefix(POINT).partition(":")
        return f'<g class="point" data-series="{number}"><title>{escape(unquote(text))}</title>'
    return "<g>"


def standalone(svg: str) -> str:
    """Return a chart as a file of its own: dark on white in every viewer."""
    spaces = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
    tag = svg.partition(">")[0]
    missing = " ".join(f'{name}="{space}"' for name, space in spaces.items() if f"{name}=" not in tag)
    style = 'style="color: #111; background: #fff; font-family: sans-serif"'
    return svg.replace("<svg ", f'<svg {missing} {style} width="{FILE_WIDTH}" ', 1) + "\n"


def name_in_legend(name: str) -> str:
    """Return the label of a line in a legend: matplotlib leaves out "" and "_…"."""
    return f" {name}" if not name or name.startswith("_") else name


def shorten(name: str, width: float) -> str:
    """Return a name that fits into a drawing of this width, inches: its begin and its end."""
    most = LONGEST_NAME[WIDE if width >= WIDE else NARROW]
    half = (most - 1) // 2
    return name if len(name) <= most else f"{name[:half]}…{name[-half:]}"


def name_rows(axes: Axes, names: Sequence[str], width: float) -> None:
    """Write names above the rows of a chart, the first one at the top: they leave the drawing its whole width."""
    for i, name in enumerate(names):
        place = {"xycoords": ("axes fraction", "data"), "va": "bottom", "ha": "left", "annotation_clip": False}
        axes.annotate(shorten(name, width), (0, i - 0.3), **place)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_ylim(len(names) - 0.6, -0.75)
    axes.grid(False, axis="y")


def show_plain_numbers(axis: Axis) -> None:
    """Show numbers on a logarithmic axis as 0.2, not 2 × 10⁻¹."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
