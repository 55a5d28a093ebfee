"""SVG drawings that follow the page's colours, light or dark."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any, TypeAlias

from edge_asc.errors import require
from edge_asc.text import escape_controls
from edge_asc_bench.markup import escape_xml

# matplotlib has no types: its objects, and the keywords that it takes.
Axes: TypeAlias = Any
Axis: TypeAlias = Any
Panels: TypeAlias = Any

# Stands for the page's text colour until the drawing is done; no other part has it.
INK = "#010203"
# Okabe and Ito's colours, without those that vanish on white or black: distinct for the colour-blind, too.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8b8b8b")
MARKERS = "osD^vPX"
WIDTH = 7.2
STYLE: dict[str, str | int | bool] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edge-asc",
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
    # Dollar signs in names are no formulas.
    "text.parse_math": False,
}


class Drawing:
    """Holds a chart once it is drawn."""

    svg = ""


@contextmanager
def chart(label: str, height: float) -> Iterator[tuple[Axes, Drawing]]:
    """Yield axes to draw on; the drawing holds the SVG afterwards."""
    with panels(label, height, 1, 1) as (((axes,),), drawing):
        yield axes, drawing


@contextmanager
def panels(
    label: str, height: float, rows: int, columns: int, *, shared: bool = False
) -> Iterator[tuple[Panels, Drawing]]:
    """Yield rows of axes to draw on; the drawing holds the SVG afterwards."""
    matplotlib = require("matplotlib", "bench")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    drawing = Drawing()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        canvas = FigureCanvasSVG(figure)
        grid = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
        for axes in grid.flat:
            axes.grid(alpha=0.25, lw=0.6)
            axes.set_axisbelow(True)
        yield grid, drawing
        for label_text in figure.findobj(Text):
            label_text.set_text(escape_xml(escape_controls(label_text.get_text(), keep="\n")))
        text = io.StringIO()
        with warnings.catch_warnings():
            # The page's own font draws the text; matplotlib's, which may lack a character, only measures it.
            warnings.filterwarnings("ignore", message="Glyph .* missing from")
            canvas.print_svg(text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    body = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # Only the size in its own units stays, so that the page scales it; the background is the page's.
    _, box, rest = body.partition("viewBox=")
    size = box + rest.partition(">")[0]
    content = _without_background(rest.partition(">")[2])
    drawing.svg = f'<svg class="chart" role="img" aria-label="{escape(escape_controls(label))}" {size}>{content}'


def standalone(svg: str) -> str:
    """Return a chart as a file of its own: dark on white in every viewer."""
    spaces = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
    tag = svg.partition(">")[0]
    missing = " ".join(f'{name}="{space}"' for name, space in spaces.items() if f"{name}=" not in tag)
    style = 'style="color: #111; background: #fff; font-family: sans-serif"'
    return svg.replace("<svg ", f'<svg {missing} {style} width="{WIDTH * 100:.0f}" ', 1) + "\n"


def name_in_legend(name: str) -> str:
    """Return the label of a line in a legend: matplotlib leaves out "" and "_…"."""
    return f" {name}" if not name or name.startswith("_") else name


def _without_background(content: str) -> str:
    """A drawing without the white squares behind figure and axes."""
    return content.replace('style="fill: #ffffff"', 'style="fill: none"')


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a chart, the first one at the top."""
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")


def show_plain_numbers(axis: Axis) -> None:
    """Show numbers on a logarithmic axis as 0.2, not 2 × 10⁻¹."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
