"""The paper's table and figures as tables for a terminal."""

from __future__ import annotations

import math

from rich.table import Table

from edge_asc.reproduction.figure3 import Figure3
from edge_asc.reproduction.figure4 import Figure4, ModelCurves
from edge_asc.reproduction.table1 import Accuracies, Gains, Table1


def tabulate_table1(value: Table1) -> list[Table]:
    """Return the systems, and the effects of the auxiliary stream where they are known."""
    assert value.seconds is not None
    lengths = f"{value.seconds.whole:.3g} s", f"random {value.seconds.crop:g} s"
    clips = sum(value.clips.values())
    table = Table(title=f"Accuracy on {clips} held-out clips of {value.data}, {value.form}, %: mean ± deviation")
    for title in ("backbone", "system"):
        table.add_column(title)
    for title in ("parameters", "seeds", *lengths, *(("paper 10 s", "paper 1 s") if value.is_printed else ())):
        table.add_column(title, justify="right")
    for row in value.rows:
        paper = [f"{row.paper.whole:.2f}", f"{row.paper.crop:.2f}"] if row.paper else []
        cells = [_show_moments(row.whole), _show_moments(row.crop)]
        table.add_row(row.backbone, row.variant, f"{row.parameters:,}", f"{len(row.seeds)}", *cells, *paper)
    return [table, _tabulate_effects(value, lengths)] if value.auxiliary else [table]


def _tabulate_effects(value: Table1, lengths: tuple[str, str]) -> Table:
    table = Table(title="What the auxiliary stream adds, points, and with how many seeds it is better")
    table.add_column("backbone")
    table.add_column("system")
    for length in lengths:
        table.add_column(length, justify="right")
    for effect in value.auxiliary:
        gains = (effect.whole, effect.crop)
        cells = [f"{_show_moments(gain, '+')} ({gain.better} of {len(effect.seeds)})" for gain in gains]
        table.add_row(effect.backbone, effect.variant, *cells)
    return table


def _show_moments(values: Accuracies | Gains, sign: str = "") -> str:
    deviation = "" if values.deviation is None else f" ± {100 * values.deviation:.1f}"
    return f"{100 * values.mean:{sign}.1f}{deviation}"


def tabulate_figure4(figure: Figure4) -> list[Table]:
    """Return a table for each model."""
    return [_tabulate_curves(model, figure) for model in figure.models]


def _tabulate_curves(model: ModelCurves, figure: Figure4) -> Table:
    """Recall and, in brackets, accuracy at the first and last step and on average, for each length and mode."""
    table = Table(
        title=f"{model.name}: recall, % (and accuracy), {model.whole.right} of {model.whole.count} clips of "
        f"{figure.data} right at {figure.seconds} s"
    )
    table.add_column("window")
    table.add_column("carried")
    for title in ("steps", "first", "mean", "last"):
        table.add_column(title, justify="right")
    for curve in model.curves:
        recall = curve.recall or (math.nan,) * len(curve.accuracy)
        pairs = zip(_summarise(recall), _summarise(curve.accuracy), strict=True)
        cells = [f"{100 * share:.1f} ({100 * among_all:.1f})" for share, among_all in pairs]
        window = f"{curve.seconds} s" if curve.seconds else "step"
        table.add_row(window, curve.carry, str(len(curve.accuracy)), *cells)
    shorter = [f"{figure.left_out} shorter clips are left out"] if figure.left_out else []
    table.caption = "; ".join([*shorter, *model.notes]) or None
    return table


def _summarise(values: tuple[float, ...]) -> tuple[float, float, float]:
    """First value, mean and last value."""
    return values[0], sum(values) / len(values), values[-1]


def tabulate_figure3(figure: Figure3) -> Table:
    """Return the silhouettes: how well labels are separated in each space."""
    subject = f"{len(figure.label)} steps of {figure.clips} clips of {figure.data}"
    table = Table(title=f"Silhouette of labels, {subject}")
    table.add_column("model")
    table.add_column("auxiliary")
    for space in figure.models[0].maps:
        table.add_column(space, justify="right")
    for model in figure.models:
        values = [state_map.silhouette for state_map in model.maps.values()]
        cells = ["–" if value is None else f"{value:.3f}" for value in values]
        table.add_row(model.name, "yes" if model.auxiliary else "no", *cells)
    return table
