"""Drawings of the paper's figures."""

from __future__ import annotations

import math
from collections.abc import Mapping

from edge_asc.reproduction.figure3 import Figure3
from edge_asc.reproduction.figure4 import Curve, Figure4, ModelCurves
from edge_asc_bench.drawing import INK, MARKERS, WIDE, Axes, Canvas, Panels, name_in_legend, panels

STROKES = {"final": "-", "none": "--", "aligned": ":"}
CAUSAL = ("-", (0, (6, 2)), (0, (2, 1)), (0, (6, 2, 1, 2)))
# Columns of the legend, in a wide and in a narrow drawing.
KEY_COLUMNS, NARROW_KEY_COLUMNS = 3, 1


def recall_curves(figure: Figure4, width: float = WIDE) -> str:
    """Draw recall at each step: a panel for each windowed model, a colour for each length, a stroke for each mode.

    The curves of causal models are in every panel. A drawing that is less than WIDE inches wide has one column.
    """
    windowed = [model for model in figure.models if model.form == "windowed"]
    causal = [(model.name, model.curves[0]) for model in figure.models if model.form == "causal"]
    count = max(1, len(windowed))
    columns = min(2, count) if width >= WIDE else 1
    rows = math.ceil(count / columns)
    lengths = sorted({curve.seconds for model in windowed for curve in model.curves if curve.seconds})
    carries = list(dict.fromkeys(curve.carry for model in windowed for curve in model.curves))
    key_columns = KEY_COLUMNS if width >= WIDE else NARROW_KEY_COLUMNS
    keys = math.ceil((len(lengths) + len(causal) + len(carries)) / key_columns)
    label = "Recall at each step of a stream, by window length and what is carried"
    canvas = Canvas(label, 2.8 * rows + 0.2 * keys, width)
    with panels(canvas, rows, columns, shared=True) as (grid, drawing):
        from matplotlib import colormaps

        colours = {
            length: colormaps["viridis"](0.15 + 0.75 * i / max(1, len(lengths) - 1)) for i, length in enumerate(lengths)
        }
        for i, axes in enumerate(grid.flat):
            if i < len(windowed):
                _draw_windows(axes, windowed[i], colours)
            for k, (name, curve) in enumerate(causal if i < count else []):
                _draw_recall(
                    axes,
                    curve,
                    color=INK,
                    ls=CAUSAL[k % len(CAUSAL)],
                    lw=1.8,
                    label=name_in_legend(f"{name}, step by step"),
                )
            axes.set_visible(i < count)
            axes.set_xlabel("seconds of audio")
        grid[0][0].set_ylabel("recall, %")
        _draw_legend(grid, carries, key_columns)
    return drawing.svg


def _draw_windows(axes: Axes, model: ModelCurves, colours: Mapping[int, object]) -> None:
    for curve in model.curves:
        assert curve.seconds is not None
        name = f"{curve.seconds} s" if curve.carry == model.curves[0].carry else None
        _draw_recall(axes, curve, color=colours[curve.seconds], ls=STROKES[curve.carry], lw=1.3, label=name)
    axes.set_title(model.name, fontsize=10)


def _draw_recall(axes: Axes, curve: Curve, **style: object) -> None:
    """Draw a line, or a point where there is one step alone."""
    if curve.recall is not None:
        marker = {"marker": "o", "ms": 3} if len(curve.times) == 1 else {}
        axes.plot(curve.times, [100 * share for share in curve.recall], **style, **marker)


def _draw_legend(grid: Panels, carries: list[str], columns: int) -> None:
    pairs = (axes.get_legend_handles_labels() for axes in grid.flat)
    keyed = {name: handle for handles, names in pairs for handle, name in zip(handles, names, strict=True)}
    names, handles = list(keyed), list(keyed.values())
    for carry in carries:
        handles += grid[0][0].plot([], [], color="#8b8b8b", ls=STROKES[carry], lw=1.3)
        names.append(f"carried: {carry}")
    grid[0][0].figure.legend(handles, names, fontsize=8, loc="outside lower center", ncols=columns)


def state_maps(figure: Figure3, width: float = WIDE) -> str:
    """Draw maps of embeddings and hidden states; colours and markers are labels.

    A model is a row, or two rows in a drawing that is less than WIDE inches wide.
    """
    models = figure.models
    label = "Maps of embeddings and hidden states by label"
    columns = 2 if width >= WIDE else 1
    rows = len(models) * 2 // columns
    with panels(Canvas(label, 3.1 * rows + 0.5, width), rows, columns) as (grid, drawing):
        from matplotlib import colormaps

        numbers = sorted(set(figure.label))
        for row, model in zip(grid.reshape(len(models), 2), models, strict=True):
            for axes, (space, state_map) in zip(row, model.maps.items(), strict=True):
                for k, number in enumerate(numbers):
                    chosen = [p for p, own in zip(state_map.points, figure.label, strict=True) if own == number]
                    x, y = zip(*chosen, strict=True)
                    style = {"color": colormaps["tab10"](k % 10), "marker": MARKERS[k // 2 % len(MARKERS)]}
                    axes.scatter(
                        x,
                        y,
                        s=5,
                        lw=0,
                        alpha=0.75,
                        rasterized=True,
                        label=name_in_legend(figure.labels[number]),
                        **style,
                    )
                note = "" if state_map.silhouette is None else f", silhouette {state_map.silhouette:.2f}"
                axes.set_title(f"{model.name}\n{space}{note}", fontsize=9)
                axes.set(xticks=[], yticks=[])
        handles, names = grid[0][0].get_legend_handles_labels()
        grid[0][0].figure.legend(
            handles, names, fontsize=8, loc="outside lower center", ncols=5 if columns > 1 else 2, markerscale=2
        )
    return drawing.svg
