"""Charts of results as SVG that follows the page's colours, light or dark."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from edge_asc.errors import require

# Stands for the page's text colour until the drawing is done; no other part has it.
INK = "#010203"
# Okabe and Ito's colours, those apart that vanish on white or black: distinct for the colour-blind, too.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8b8b8b")
MARKERS = "osD^vPX"
STROKES: dict[str, Any] = {"final": "-", "none": "--", "aligned": ":"}
WIDTH, ROW = 7.2, 0.34
KEY_COLUMNS = 3
CAUSAL: tuple[Any, ...] = ("-", (0, (6, 2)), (0, (2, 1)), (0, (6, 2, 1, 2)))
STYLE = {
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
}

Entry = tuple[str, Mapping[str, Any]]
"""A name, and the latency of one form of one model."""


def accuracy_by_length(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Accuracy against seconds since reset: a line a model, the first one with its 95 % interval."""
    with _chart("Accuracy against seconds since reset, a line for each model", 3.2) as (axes, drawing):
        for i, (name, rows) in enumerate(curves.items()):
            seconds = [row["seconds"] for row in rows]
            shares = [100 * row["accuracy"] for row in rows]
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(seconds, shares, color=colour, marker=MARKERS[i % len(MARKERS)], ms=4, lw=1.5, label=name)
            if i == 0:
                low, high = ([100 * row[end] for row in rows] for end in ("low", "high"))
                axes.fill_between(seconds, low, high, color=colour, alpha=0.15, lw=0)
        axes.set(xlabel="seconds since reset", ylabel="accuracy, %")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def latency_distributions(entries: Sequence[Entry]) -> str:
    """Percentiles of a decision's time: 1 to 99 as a line, 25 to 75 as a box, the median as a stroke."""
    label = "Time of a decision: median, quartiles, and 1st to 99th percentile"
    with _chart(label, 0.7 + ROW * len(entries)) as (axes, drawing):
        for i, (_, latency) in enumerate(entries):
            at = {int(p): value for p, value in latency["total"]["percentiles"].items()}
            axes.plot([at[1], at[99]], [i, i], color=COLOURS[0], lw=1)
            axes.barh(i, at[75] - at[25], left=at[25], height=0.55, color=COLOURS[0], alpha=0.6, lw=0)
            axes.plot([at[50], at[50]], [i - 0.32, i + 0.32], color=INK, lw=1.5)
            axes.plot(at[99], i, marker="|", ms=8, color=COLOURS[0])
        _named_rows(axes, [name for name, _ in entries])
        axes.set(xscale="log", xlabel="ms for a decision (front end and model), logarithmic")
        _plain_numbers(axes.xaxis)
    return drawing.svg


def cost_by_length(windows: Mapping[str, Mapping[int, float]], steps: Mapping[str, float]) -> str:
    """The median time of a decision against the seconds that it hears: windows rise, a step does not."""
    with _chart("Time of a decision against seconds heard, windows and steps", 3.0) as (axes, drawing):
        lengths = [seconds for costs in windows.values() for seconds in costs]
        span = [min(lengths), max(lengths)]
        for i, (name, costs) in enumerate(windows.items()):
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(
                list(costs), list(costs.values()), color=colour, marker=MARKERS[i % len(MARKERS)], ms=4, label=name
            )
        for i, (name, cost) in enumerate(steps.items(), len(windows)):
            axes.plot(span, [cost, cost], color=COLOURS[i % len(COLOURS)], ls="--", label=f"{name} (step)")
        axes.set(yscale="log", xlabel="seconds heard for a decision", ylabel="ms, logarithmic")
        axes.xaxis.get_major_locator().set_params(integer=True)
        _plain_numbers(axes.yaxis)
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def accuracy_against_cost(models: Mapping[str, Sequence[tuple[float, float, float]]]) -> str:
    """Accuracy against ms of computing for a second of audio, a line a model; each point is marked by seconds heard."""
    with _chart("Accuracy against the cost of a second of audio, a point for each length", 3.4) as (axes, drawing):
        for i, (name, points) in enumerate(models.items()):
            seconds, costs, shares = zip(*points, strict=True)
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            axes.plot(costs, shares, color=colour, marker=marker, ms=4, lw=1, alpha=0.85, label=name)
            for length, cost, share in zip(seconds, costs, shares, strict=True):
                at = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 7}
                axes.annotate(f"{length:g}", (cost, share), color=colour, **at)
        axes.set(xscale="log", xlabel="ms of computing for a second of audio, logarithmic", ylabel="accuracy, %")
        _plain_numbers(axes.xaxis)
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def memory(parts: Mapping[str, Mapping[str, float]]) -> str:
    """Resident memory of a process with one model, MB: what each part of it adds."""
    with _chart("Resident memory: interpreter, front end, runtime, model", 0.9 + ROW * len(parts)) as (axes, drawing):
        names = list(next(iter(parts.values())))
        for i, (_, sizes) in enumerate(parts.items()):
            left = 0.0
            for k, name in enumerate(names):
                colour, label = COLOURS[k], name if i == 0 else None
                axes.barh(i, sizes[name], left=left, height=0.6, color=colour, alpha=0.8, lw=0, label=label)
                left += sizes[name]
            axes.text(left, i, f" {left:.0f}", va="center", fontsize=9)
        _named_rows(axes, list(parts))
        axes.set(xlabel="MB, at the peak")
        axes.legend(fontsize=9, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1))
    return drawing.svg


def over_time(
    series: Mapping[str, Sequence[tuple[float, float]]], unit: str, time: str = "seconds since the run began"
) -> str:
    """Values against seconds, a line each."""
    with _chart(f"{', '.join(series)}, {unit}, over the run", 2.0) as (axes, drawing):
        for i, (name, points) in enumerate(series.items()):
            axes.plot(
                [x for x, _ in points], [y for _, y in points], color=COLOURS[i % len(COLOURS)], lw=1.5, label=name
            )
        axes.set(xlabel=time, ylabel=unit, ylim=(0, None))
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def recall_curves(value: Mapping[str, Any]) -> str:
    """Recall at each step of a stream: a panel a windowed model, a colour a window length, a stroke a carry mode.

    The curves of causal models are in every panel.
    """
    models = value["models"]
    windowed = [model for model in models if model["form"] == "windowed"] or [{"name": "", "curves": []}]
    causal = [(model["name"], model["curves"][0]) for model in models if model["form"] == "causal"]
    rows = math.ceil(len(windowed) / 2)
    label = "Recall at each step of a stream, by window length and what is carried"
    lengths = sorted({curve["seconds"] for model in windowed for curve in model["curves"]})
    carries = dict.fromkeys(curve["carry"] for model in windowed for curve in model["curves"])
    keys = math.ceil((len(lengths) + len(causal) + len(carries)) / KEY_COLUMNS)
    with _panels(label, 2.8 * rows + 0.2 * keys, rows, min(2, len(windowed)), shared=True) as (panels, drawing):
        from matplotlib import colormaps

        colours = {
            length: colormaps["viridis"](0.15 + 0.75 * i / max(1, len(lengths) - 1)) for i, length in enumerate(lengths)
        }
        for axes, model in zip(panels.flat, windowed, strict=False):
            for curve in model["curves"]:
                style = {"color": colours[curve["seconds"]], "ls": STROKES[curve["carry"]], "lw": 1.3}
                first = curve["carry"] == model["curves"][0]["carry"]
                name = f"{curve['seconds']} s" if first else None
                _recall(axes, curve, label=name, **style)
            for i, (name, curve) in enumerate(causal):
                _recall(axes, curve, color=INK, ls=CAUSAL[i % len(CAUSAL)], lw=1.8, label=f"{name}, step by step")
            axes.set_title(model["name"], fontsize=10)
            axes.set_xlabel("seconds heard")
        for axes in list(panels.flat)[len(windowed) :]:
            axes.set_visible(False)
        panels[0][0].set_ylabel("recall, %")
        pairs = (panel.get_legend_handles_labels() for panel in panels.flat)
        keyed = {name: handle for handles, names in pairs for handle, name in zip(handles, names, strict=True)}
        names, handles = list(keyed), list(keyed.values())
        for carry in carries:
            handles += panels[0][0].plot([], [], color="#8b8b8b", ls=STROKES[carry], lw=1.3)
            names.append(f"carried: {carry}")
        panels[0][0].figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=KEY_COLUMNS)
    return drawing.svg


def _recall(axes: Any, curve: Mapping[str, Any], **style: Any) -> None:
    """A line, or a point where there is one step alone."""
    if curve["recall"] is not None:
        marker = {"marker": "o", "ms": 3} if len(curve["times"]) == 1 else {}
        axes.plot(curve["times"], [100 * share for share in curve["recall"]], **style, **marker)


def state_maps(value: Mapping[str, Any]) -> str:
    """Maps of embeddings and hidden states, a row a model; colours and markers are labels."""
    models = value["models"]
    label = "Maps of embeddings and hidden states by label"
    with _panels(label, 3.1 * len(models) + 0.5, len(models), 2) as (panels, drawing):
        from matplotlib import colormaps

        numbers = sorted(set(value["label"]))
        for row, model in zip(panels, models, strict=True):
            for axes, (what, found) in zip(row, model["maps"].items(), strict=True):
                for k, number in enumerate(numbers):
                    chosen = [p for p, own in zip(found["points"], value["label"], strict=True) if own == number]
                    x, y = zip(*chosen, strict=True)
                    style = {"color": colormaps["tab10"](k % 10), "marker": MARKERS[k // 2 % len(MARKERS)]}
                    axes.scatter(x, y, s=5, lw=0, alpha=0.75, rasterized=True, label=value["labels"][number], **style)
                note = "" if found["silhouette"] is None else f", silhouette {found['silhouette']:.2f}"
                axes.set_title(f"{model['name']}: {what}{note}", fontsize=9)
                axes.set(xticks=[], yticks=[])
        handles, names = panels[0][0].get_legend_handles_labels()
        panels[0][0].figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=5, markerscale=2)
    return drawing.svg


class _Drawing:
    """Holds a chart once it is drawn."""

    svg = ""


@contextmanager
def _chart(label: str, height: float) -> Iterator[tuple[Any, _Drawing]]:
    """Axes to draw on; the drawing holds the SVG afterwards."""
    with _panels(label, height, 1, 1) as (((axes,),), drawing):
        yield axes, drawing


@contextmanager
def _panels(
    label: str, height: float, rows: int, columns: int, *, shared: bool = False
) -> Iterator[tuple[Any, _Drawing]]:
    """Rows of axes to draw on; the drawing holds the SVG afterwards."""
    matplotlib = require("matplotlib", "bench")
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    drawing = _Drawing()
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(WIDTH, height))
        canvas = FigureCanvasSVG(figure)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
        for axes in panels.flat:
            axes.grid(alpha=0.25, lw=0.6)
            axes.set_axisbelow(True)
        yield panels, drawing
        text = io.StringIO()
        canvas.print_svg(text, metadata=dict.fromkeys(("Creator", "Date", "Format", "Type")))
    svg = text.getvalue()
    body = svg[svg.index("<svg") :].replace(INK, "currentColor")
    # Only the size in its own units stays, so that the page scales it; the background is the page's.
    _, box, rest = body.partition("viewBox=")
    size = box + rest.partition(">")[0]
    content = _without_background(rest.partition(">")[2])
    drawing.svg = f'<svg class="chart" role="img" aria-label="{escape(label)}" {size}>{content}'


def standalone(svg: str) -> str:
    """A chart as a file of its own: dark on white, whatever shows it."""
    spaces = {"xmlns": "http://www.w3.org/2000/svg", "xmlns:xlink": "http://www.w3.org/1999/xlink"}
    tag = svg.partition(">")[0]
    missing = " ".join(f'{name}="{space}"' for name, space in spaces.items() if f"{name}=" not in tag)
    style = 'style="color: #111; background: #fff; font-family: sans-serif"'
    return svg.replace("<svg ", f'<svg {missing} {style} width="{WIDTH * 100:.0f}" ', 1) + "\n"


def _without_background(content: str) -> str:
    """A drawing without the white squares behind figure and axes."""
    return content.replace('style="fill: #ffffff"', 'style="fill: none"')


def _named_rows(axes: Any, names: Sequence[str]) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=9)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(False, axis="y")


def _plain_numbers(axis: Any) -> None:
    """Numbers as one reads them on a logarithmic axis: 0.2, not 2 × 10⁻¹."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
