"""Charts of benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from edge_asc_bench.drawing import (
    COLOURS,
    INK,
    MARKERS,
    Axes,
    chart,
    name_in_legend,
    name_rows,
    panels,
    show_plain_numbers,
)
from edge_asc_bench.latency import Distribution
from edge_asc_bench.result import LengthAccuracy
from edge_asc_bench.training import Curve

# Height of a row in a chart of rows, inches.
ROW = 0.34

Entry = tuple[str, Distribution]
"""A name, and the times of one model in one form."""


@dataclass(frozen=True)
class CostPoint:
    """A point of accuracy against cost.

    Attributes:
        seconds: of audio since reset.
        cost: ms of computing for a second of audio.
        accuracy: %.
    """

    seconds: float
    cost: float
    accuracy: float


def accuracy_by_length(curves: Mapping[str, Sequence[LengthAccuracy]]) -> str:
    """Draw accuracy against seconds since reset: a line for each model, the first one with its 95 % interval."""
    with chart("Accuracy against seconds since reset, a line for each model", 3.2) as (axes, drawing):
        for i, (name, rows) in enumerate(curves.items()):
            seconds = [row.seconds for row in rows]
            shares = [100 * row.accuracy for row in rows]
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(
                seconds,
                shares,
                color=colour,
                marker=MARKERS[i % len(MARKERS)],
                ms=4,
                lw=1.5,
                label=name_in_legend(name),
            )
            if i == 0:
                low, high = [100 * row.low for row in rows], [100 * row.high for row in rows]
                axes.fill_between(seconds, low, high, color=colour, alpha=0.15, lw=0)
        axes.set(xlabel="seconds since reset", ylabel="accuracy, %")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def latency_distributions(entries: Sequence[Entry]) -> str:
    """Draw percentiles of a decision's time: 1 to 99 as a line, 25 to 75 as a box, the median as a stroke."""
    label = "Time of a decision: median, quartiles, and 1st to 99th percentile"
    with chart(label, 0.7 + ROW * len(entries)) as (axes, drawing):
        for i, (_, times) in enumerate(entries):
            at = {int(percent): value for percent, value in times.percentiles.items()}
            axes.plot([at[1], at[99]], [i, i], color=COLOURS[0], lw=1)
            axes.barh(i, at[75] - at[25], left=at[25], height=0.55, color=COLOURS[0], alpha=0.6, lw=0)
            axes.plot([at[50], at[50]], [i - 0.32, i + 0.32], color=INK, lw=1.5)
            axes.plot(at[99], i, marker="|", ms=8, color=COLOURS[0])
        name_rows(axes, [name for name, _ in entries])
        axes.set(xscale="log", xlabel="ms for a decision (front end and model), logarithmic")
        show_plain_numbers(axes.xaxis)
    return drawing.svg


def cost_by_length(windows: Mapping[str, Mapping[int, float]], steps: Mapping[str, float]) -> str:
    """Draw the median time of a decision against the length of its window; that of a step is constant."""
    with chart("Time of a decision against seconds of audio, windows and steps", 3.0) as (axes, drawing):
        lengths = [seconds for costs in windows.values() for seconds in costs]
        span = [min(lengths), max(lengths)]
        for i, (name, costs) in enumerate(windows.items()):
            colour = COLOURS[i % len(COLOURS)]
            axes.plot(
                list(costs),
                list(costs.values()),
                color=colour,
                marker=MARKERS[i % len(MARKERS)],
                ms=4,
                label=name_in_legend(name),
            )
        for i, (name, cost) in enumerate(steps.items(), len(windows)):
            axes.plot(
                span, [cost, cost], color=COLOURS[i % len(COLOURS)], ls="--", label=name_in_legend(f"{name} (step)")
            )
        axes.set(yscale="log", xlabel="seconds of audio for a decision", ylabel="ms, logarithmic")
        axes.xaxis.get_major_locator().set_params(integer=True)
        show_plain_numbers(axes.yaxis)
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def accuracy_against_cost(models: Mapping[str, Sequence[CostPoint]]) -> str:
    """Draw accuracy against ms of computing for a second of audio: a line for each model, a point for each length."""
    with chart("Accuracy against the cost of a second of audio, a point for each length", 3.4) as (axes, drawing):
        for i, (name, points) in enumerate(models.items()):
            costs, shares = [point.cost for point in points], [point.accuracy for point in points]
            colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
            axes.plot(costs, shares, color=colour, marker=marker, ms=4, lw=1, alpha=0.85, label=name_in_legend(name))
            for point in points:
                at = {"xytext": (4, 3), "textcoords": "offset points", "fontsize": 7}
                axes.annotate(f"{point.seconds:g}", (point.cost, point.accuracy), color=colour, **at)
        axes.set(xscale="log", xlabel="ms of computing for a second of audio, logarithmic", ylabel="accuracy, %")
        show_plain_numbers(axes.xaxis)
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def memory(parts: Mapping[str, Mapping[str, float]]) -> str:
    """Draw the resident memory of a process with one model, MB: what each part of it adds."""
    with chart("Resident memory: interpreter, front end, runtime, model", 0.9 + ROW * len(parts)) as (axes, drawing):
        names = list(next(iter(parts.values())))
        for i, (_, sizes) in enumerate(parts.items()):
            left = 0.0
            for k, name in enumerate(names):
                colour, label = COLOURS[k], name if i == 0 else None
                axes.barh(i, sizes[name], left=left, height=0.6, color=colour, alpha=0.8, lw=0, label=label)
                left += sizes[name]
            axes.text(left, i, f" {left:.0f}", va="center", fontsize=9)
        name_rows(axes, list(parts))
        axes.set(xlabel="MB, at the peak")
        axes.legend(fontsize=9, ncols=len(names), loc="lower left", bbox_to_anchor=(0, 1))
    return drawing.svg


def over_time(
    series: Mapping[str, Sequence[tuple[float, float]]], unit: str, time: str = "seconds since the run began"
) -> str:
    """Draw values against seconds, a line for each name."""
    with chart(f"{', '.join(series)}, {unit}, over the run", 2.0) as (axes, drawing):
        for i, (name, points) in enumerate(series.items()):
            axes.plot(
                [x for x, _ in points],
                [y for _, y in points],
                color=COLOURS[i % len(COLOURS)],
                lw=1.5,
                label=name_in_legend(name),
            )
        axes.set(xlabel=time, ylabel=unit, ylim=(0, None))
        axes.legend(fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return drawing.svg


def learning_curves(curves: Sequence[Curve]) -> str:
    """Draw loss and accuracy against the epoch: the model itself, the models of the folds, and held-out accuracy."""
    label = "Learning curves: loss, accuracy on training clips and on held-out clips, by epoch"
    with panels(label, 5.4, 2, 1, shared=False) as (((losses,), (shares,)), drawing):
        for curve in curves:
            epochs = [epoch.number for epoch in curve.epochs]
            is_fold = curve.fold is not None
            name = "training clips, models of the folds" if is_fold else "training clips"
            style = {"color": COLOURS[1] if is_fold else COLOURS[0], "lw": 0.9 if is_fold else 1.8, "label": name}
            losses.plot(epochs, [epoch.loss for epoch in curve.epochs], **style)
            shares.plot(epochs, [100 * epoch.accuracy for epoch in curve.epochs], **style)
            checked = [(e.number, 100 * e.validation) for e in curve.epochs if e.validation is not None]
            if checked:
                x, y = zip(*checked, strict=True)
                name = "held-out clips, models of the folds" if is_fold else "held-out clips"
                shares.plot(x, y, color=COLOURS[2], ls="--", marker="o", ms=3, lw=1.2, label=name)
        _mark_stages(losses, max(curves, key=lambda curve: len(curve.epochs)))
        _mark_stages(shares, max(curves, key=lambda curve: len(curve.epochs)))
        losses.set(ylabel="loss", ylim=(0, None))
        shares.set(xlabel="epoch", ylabel="accuracy, %", ylim=(0, 102))
        for axes in (losses, shares):
            axes.xaxis.get_major_locator().set_params(integer=True)
        named = dict(zip(*reversed(shares.get_legend_handles_labels()), strict=True))
        shares.figure.legend(named.values(), named.keys(), fontsize=9, loc="outside lower center", ncols=len(named))
    return drawing.svg


def _mark_stages(axes: Axes, curve: Curve) -> None:
    """Draw a line before each stage but the first, and name the stages where there are several."""
    first = 1
    stages = curve.stages
    for stage in stages if len(stages) > 1 else ():
        if first > 1:
            axes.axvline(first - 0.5, color=INK, lw=0.8, ls=":")
        place = {"xytext": (3, 0), "textcoords": "offset points", "va": "bottom", "fontsize": 9}
        axes.annotate(stage.name, (first - 0.5, 1), xycoords=("data", "axes fraction"), **place)
        first += stage.epochs
