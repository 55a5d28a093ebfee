"""Charts of benchmarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from edge_asc.closeness import Closeness
from edge_asc_bench.drawing import (
    COLOURS,
    HATCHES,
    INK,
    ON_SERIES,
    WIDE,
    Axes,
    Canvas,
    Look,
    chart,
    name_point,
    name_rows,
    name_series,
    show_plain_numbers,
)
from edge_asc_bench.latency import Distribution
from edge_asc_bench.result import LengthAccuracy

# Height of a row in a chart of rows, inches.
ROW = 0.58
# The share of the smallest distance between two lengths that the points of all models at one length take.
DODGED = 0.55


@dataclass(frozen=True)
class Series:
    """A model in a chart: the number that its look depends on, and its name."""

    number: int
    name: str


@dataclass(frozen=True)
class CostPoint:
    """A point of accuracy against cost.

    Attributes:
        seconds: of audio since reset.
        cost: ms of computing for a second of audio.
        accuracy, low, high: %, with the 95 % interval.
    """

    seconds: float
    cost: float
    accuracy: float
    low: float
    high: float


@dataclass(frozen=True)
class Frame:
    """The place of a chart on the page: its title, a description for those who do not see it, and its width, inches."""

    title: str
    description: str = ""
    width: float = WIDE

    def canvas(self, height: float) -> Canvas:
        """Return the canvas of a drawing of this height, inches."""
        return Canvas(self.title, height, self.width, self.description)


def accuracy_by_length(frame: Frame, curves: Mapping[Series, Sequence[LengthAccuracy]]) -> str:
    """Draw accuracy with 95 % intervals against seconds since reset; models stand side by side at each length."""
    with chart(frame.canvas(3.1)) as (axes, drawing):
        shifts = _dodge([[row.seconds for row in rows] for rows in curves.values()])
        for shift, (series, rows) in zip(shifts, curves.items(), strict=True):
            look, gid = Look.of(series.number), name_series(series.number)
            x = [row.seconds + shift for row in rows]
            axes.plot(x, [100 * row.accuracy for row in rows], gid=gid, **look.link)
            low, high = [100 * row.low for row in rows], [100 * row.high for row in rows]
            axes.vlines(x, low, high, color=look.colour, lw=1.2, gid=gid)
            for at, row in zip(x, rows, strict=True):
                share = f"{100 * row.accuracy:.1f} % [{100 * row.low:.1f}, {100 * row.high:.1f}]"
                text = f"{series.name}, {row.seconds:g} s: {share}"
                axes.plot([at], [100 * row.accuracy], gid=name_point(series.number, text), **look.point)
        axes.set(xlabel="seconds of audio since the start", ylabel="accuracy, %")
        _mark_lengths(axes, curves.values())
    return drawing.svg


def agreement_by_length(frame: Frame, curves: Mapping[Series, Sequence[tuple[float, float]]]) -> str:
    """Draw the share of decisions that equal the reference's, %, against seconds since reset."""
    with chart(frame.canvas(2.6)) as (axes, drawing):
        shifts = _dodge([[x for x, _ in points] for points in curves.values()])
        for shift, (series, points) in zip(shifts, curves.items(), strict=True):
            look, gid = Look.of(series.number), name_series(series.number)
            axes.plot([x + shift for x, _ in points], [y for _, y in points], gid=gid, **look.link)
            for x, y in points:
                text = f"{series.name}, {x:g} s: {y:.4g} % equal"
                axes.plot([x + shift], [y], gid=name_point(series.number, text), clip_on=False, **look.point)
        low = min(y for points in curves.values() for _, y in points)
        axes.set(xlabel="seconds of audio since the start", ylabel="equal decisions, %")
        axes.set_ylim(max(0.0, min(low - 0.15 * (100 - low), 99.0)), 100)
        axes.xaxis.get_major_locator().set_params(integer=True)
    return drawing.svg


def agreement_by_margin(frame: Frame, models: Mapping[Series, Closeness]) -> str:
    """Draw the share of decisions that equal the reference's, %, for each range of the reference's margin."""
    with chart(frame.canvas(2.6)) as (axes, drawing):
        margins = next(iter(models.values())).margins
        shifts = _dodge([[float(i) for i in range(len(margins))] for _ in models])
        low = 100.0
        for shift, (series, closeness) in zip(shifts, models.items(), strict=True):
            look, gid = Look.of(series.number), name_series(series.number)
            known = [(i, each) for i, each in enumerate(closeness.margins) if each.steps]
            shares = [100 * each.agreed / each.steps for _, each in known]
            low = min(low, *shares)
            axes.plot([i + shift for i, _ in known], shares, gid=gid, **look.link)
            for (i, each), share in zip(known, shares, strict=True):
                text = f"{series.name}, margin from {each.least:g}: {each.agreed:,} of {each.steps:,} equal"
                axes.plot([i + shift], [share], gid=name_point(series.number, text), clip_on=False, **look.point)
        axes.set(xlabel="margin of the float model's decision, from", ylabel="equal decisions, %")
        axes.set_ylim(max(0.0, low - 0.15 * (100 - low)), 100)
        axes.set_xticks(range(len(margins)), [f"{each.least:g}" for each in margins])
    return drawing.svg


def _dodge(curves: Sequence[Sequence[float]]) -> list[float]:
    """Shift of each model, s, from its lengths: models stand side by side, so that equal ones can be seen."""
    lengths = sorted({seconds for each in curves for seconds in each})
    gap = min((b - a for a, b in pairwise(lengths)), default=1.0)
    step = min(0.16, DODGED / max(1, len(curves) - 1)) * gap
    return [(i - (len(curves) - 1) / 2) * step for i in range(len(curves))]


def _mark_lengths(axes: Axes, curves: Iterable[Sequence[LengthAccuracy]]) -> None:
    lengths = sorted({row.seconds for each in curves for row in each})
    if len(lengths) <= 12:
        axes.set_xticks(lengths, [f"{seconds:g}" for seconds in lengths])


def latency_distributions(frame: Frame, entries: Sequence[tuple[Series, Distribution]]) -> str:
    """Draw percentiles of a decision's time: 1 to 99 as a line, 25 to 75 as a box, the median as a stroke."""
    with chart(frame.canvas(0.75 + ROW * len(entries))) as (axes, drawing):
        for i, (series, times) in enumerate(entries):
            look, gid = Look.of(series.number), name_series(series.number)
            at = {int(percent): value for percent, value in times.percentiles.items()}
            axes.plot([at[1], at[99]], [i, i], color=look.colour, lw=1.5, gid=gid)
            axes.plot([at[1], at[99]], [i, i], color=look.colour, marker="|", ms=7, ls="none", gid=gid)
            spread = f"half of all {at[25]:.3g} to {at[75]:.3g}, 99 % up to {at[99]:.3g}"
            text = f"{series.name}: median {at[50]:.3g} ms; {spread}"
            box = {"height": 0.34, "color": look.colour, "alpha": 0.45, "lw": 0}
            axes.barh(i, at[75] - at[25], left=at[25], gid=gid, **box)
            for bar in axes.containers[-1]:
                bar.set_gid(name_point(series.number, text))
            axes.plot([at[50], at[50]], [i - 0.22, i + 0.22], color=INK, lw=2, gid=gid)
            place = {"xytext": (7, 0), "textcoords": "offset points", "va": "center", "annotation_clip": False}
            axes.annotate(f"{at[50]:.3g} ms", (at[99], i), gid=gid, **place)
        name_rows(axes, [series.name for series, _ in entries], frame.width)
        low = min(times.percentiles["1"] for _, times in entries)
        high = max(times.percentiles["99"] for _, times in entries)
        axes.set(xscale="log", xlabel="ms for a decision, logarithmic")
        # Room for the numbers to the right of the longest bar.
        axes.set_xlim(low / 1.15, high * (high / low) ** (0.2 if frame.width >= WIDE else 0.35) * 1.1)
        show_plain_numbers(axes.xaxis)
    return drawing.svg


def cost_by_length(frame: Frame, windows: Mapping[Series, Mapping[int, float]], steps: Mapping[Series, float]) -> str:
    """Draw the median time of a decision against the length of its window; that of a step is constant."""
    with chart(frame.canvas(3.0)) as (axes, drawing):
        lengths = [seconds for costs in windows.values() for seconds in costs]
        span = [min(lengths), max(lengths)]
        for series, costs in windows.items():
            look = Look.of(series.number)
            axes.plot(list(costs), list(costs.values()), gid=name_series(series.number), **look.line)
            for seconds, cost in costs.items():
                text = f"{series.name}, window of {seconds} s: {cost:.3g} ms"
                axes.plot([seconds], [cost], gid=name_point(series.number, text), **look.point)
        for series, cost in steps.items():
            look = Look.of(series.number)
            axes.plot(span, [cost, cost], gid=name_series(series.number), **look.line)
            text = f"{series.name}, a step: {cost:.3g} ms"
            axes.plot([span[-1]], [cost], gid=name_point(series.number, text), **look.point)
        axes.set(yscale="log", xlabel="seconds of audio for a decision", ylabel="ms, logarithmic")
        axes.xaxis.get_major_locator().set_params(integer=True)
        show_plain_numbers(axes.yaxis)
    return drawing.svg


def accuracy_against_cost(frame: Frame, models: Mapping[Series, Sequence[CostPoint]]) -> str:
    """Draw accuracy against ms of computing for a second of audio: a point for each window, or one for a step."""
    with chart(frame.canvas(3.1)) as (axes, drawing):
        for series, points in models.items():
            look, gid = Look.of(series.number), name_series(series.number)
            costs = [point.cost for point in points]
            axes.plot(costs, [point.accuracy for point in points], gid=gid, **look.line)
            axes.vlines(costs, [p.low for p in points], [p.high for p in points], color=look.colour, lw=1, gid=gid)
            for point in points:
                text = f"{series.name}, {point.seconds:g} s: {point.accuracy:.1f} %, {point.cost:.3g} ms a second"
                axes.plot([point.cost], [point.accuracy], gid=name_point(series.number, text), **look.point)
            for point in points if len(points) > 1 else ():
                at = {"xytext": (5, 4), "textcoords": "offset points", "fontsize": 8}
                axes.annotate(f"{point.seconds:g} s", (point.cost, point.accuracy), gid=gid, **at)
        axes.set(xscale="log", xlabel="ms for a second of audio, logarithmic", ylabel="accuracy, %")
        show_plain_numbers(axes.xaxis)
        axes.margins(x=0.1)
    return drawing.svg


def memory(frame: Frame, parts: Mapping[Series, Mapping[str, float]]) -> str:
    """Draw the resident memory of a process with one model, MB: what each part of it adds."""
    with chart(frame.canvas(0.75 + ROW * len(parts))) as (axes, drawing):
        largest = max(sum(sizes.values()) for sizes in parts.values())
        for i, (series, sizes) in enumerate(parts.items()):
            gid, left = name_series(series.number), 0.0
            for k, (name, size) in enumerate(sizes.items()):
                style = {"color": COLOURS[k], "alpha": 0.7, "hatch": HATCHES[k], "edgecolor": ON_SERIES, "lw": 0.8}
                axes.barh(i, size, left=left, height=0.4, **style)
                for bar in axes.containers[-1]:
                    bar.set_gid(name_point(series.number, f"{series.name}: {name} {size:.1f} MB"))
                left += size
            axes.annotate(f" {left:.0f} MB", (left, i), va="center", gid=gid, annotation_clip=False)
        name_rows(axes, [series.name for series in parts], frame.width)
        axes.set(xlabel="MB of the process at its peak")
        axes.set_xlim(0, largest * (1.14 if frame.width >= WIDE else 1.24))
    return drawing.svg


def over_time(frame: Frame, lines: Mapping[Series, Sequence[tuple[float, float]]], unit: str, time: str) -> str:
    """Draw values against seconds, a line for each name."""
    with chart(frame.canvas(2.1)) as (axes, drawing):
        for series, points in lines.items():
            x, y = [x for x, _ in points], [y for _, y in points]
            axes.plot(x, y, gid=name_series(series.number), **Look.of(series.number).line)
            for at, value in points if len(points) <= 60 else ():
                text = f"{series.name}, {at:.0f} s: {value:.4g} {unit}"
                style = {**Look.of(series.number).point, "ms": 3}
                axes.plot([at], [value], gid=name_point(series.number, text), **style)
        axes.set(xlabel=time, ylabel=unit, ylim=(0, None))
    return drawing.svg
