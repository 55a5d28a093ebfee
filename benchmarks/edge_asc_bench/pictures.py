"""The charts of a benchmark: the questions that they answer, and their data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from edge_asc.closeness import Closeness
from edge_asc_bench import chart
from edge_asc_bench.chart import CostPoint, Frame, Series
from edge_asc_bench.drawing import fit
from edge_asc_bench.latency import Distribution
from edge_asc_bench.legend import Key, make_fill, make_line
from edge_asc_bench.result import Accuracy, LengthAccuracy, Memory, Result, Variant
from edge_asc_bench.wording import describe_variant, format_milliseconds, format_share

Points = list[tuple[float, float]]
Models = Sequence[tuple[Series, Variant]]


@dataclass(frozen=True)
class Caption:
    """The words of a chart.

    Attributes:
        title: the question.
        answer: a sentence with figures of the chart; "" where there is none.
        note: how to read it; "" where that is plain.
    """

    title: str
    answer: str = ""
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A chart: its words, its drawing, wide and narrow, and its legend."""

    caption: Caption
    svg: str
    keys: list[Key] = field(default_factory=list)

    @classmethod
    def of(cls, caption: Caption, draw: Callable[[Frame], str], keys: list[Key]) -> Picture:
        """Draw a chart wide and narrow."""
        about = " ".join(filter(None, (caption.answer, caption.note)))
        return cls(caption, fit(lambda width: draw(Frame(caption.title, about, width))), keys)


def draw(result: Result, variants: Sequence[Variant]) -> list[Picture]:
    """Return each chart that there are values for. A model has the same number, and look, in all of them."""
    models = [(Series(i, variant.name), variant) for i, variant in enumerate(variants)]
    return [
        *draw_accuracy({series: variant.accuracy.lengths for series, variant in models if variant.accuracy}),
        *draw_agreement({series: rows for series, v in models if (rows := list_agreements(v.accuracy, v.name))}),
        *draw_margins({series: variant.closeness for series, variant in models if variant.closeness}),
        *_draw_costs(models),
        *_draw_memory(models),
        *_draw_run(result, models),
    ]


def draw_accuracy(curves: Mapping[Series, Sequence[LengthAccuracy]]) -> list[Picture]:
    """Draw accuracy by length; nothing without models."""
    if not curves:
        return []
    longest = max(row.seconds for rows in curves.values() for row in rows)
    shares = [row.accuracy for rows in curves.values() for row in rows if row.seconds == longest]
    low, high = format_share(min(shares)), format_share(max(shares))
    answer = f"After {longest:g} s: {low} of the clips." if low == high else f"After {longest:g} s: {low} to {high}."
    note = "Vertical lines are 95 % intervals. Models stand side by side at each length, so that equal ones show."
    caption = Caption("How often is each model right?", answer, note)
    return [Picture.of(caption, lambda frame: chart.accuracy_by_length(frame, curves), _make_lines(curves))]


def draw_agreement(curves: Mapping[Series, Points]) -> list[Picture]:
    """Draw the share of decisions that equal the reference's, %, by length; nothing without models."""
    if not curves:
        return []
    share, at, name = min((y, x, series.name) for series, points in curves.items() for x, y in points)
    answer = f"Least after {at:g} s: {format_share(share / 100)} ({name})."
    if share == 100:
        answer = "All decisions at these lengths are equal."
    note = "The share of clips whose decision at each length is that of the reference."
    caption = Caption("Do they decide as the float model does?", answer, note)
    return [Picture.of(caption, lambda frame: chart.agreement_by_length(frame, curves), _make_lines(curves))]


def draw_margins(models: Mapping[Series, Closeness]) -> list[Picture]:
    """Draw the share of decisions that equal the reference's, %, by its margin; nothing without models that differ."""
    different = {series: closeness for series, closeness in models.items() if closeness.agreed < closeness.steps}
    if not different:
        return []
    end, name = max((_find_last_difference(closeness), series.name) for series, closeness in different.items())
    answer = f"No decision with a margin of {end:g} or more differs."
    if math.isinf(end):
        answer = f"Decisions of all margins differ ({name})."
    note = (
        "The margin says how sure the float model is. Rounding changes decisions between labels that are nearly as "
        "likely; it should change no other ones."
    )
    caption = Caption("Which decisions does rounding change?", answer, note)
    return [
        Picture.of(caption, lambda frame: chart.agreement_by_margin(frame, different), _make_lines(list(different)))
    ]


def _find_last_difference(closeness: Closeness) -> float:
    """Return the margin at and above which all decisions are equal; infinity where there is none."""
    end = math.inf
    for each in reversed(closeness.margins):
        if each.agreed < each.steps:
            return end
        end = each.least
    return end


def _make_lines(series: Mapping[Series, object] | Sequence[Series]) -> list[Key]:
    return [make_line(each.number, each.name) for each in series]


def list_agreements(accuracy: Accuracy | None, name: str) -> Points:
    """Return the share of clips, %, on which a model decides as its reference does, by length."""
    rows = accuracy.lengths if accuracy and accuracy.reference not in (None, name) else ()
    return [(float(row.seconds), 100 * row.agreement) for row in rows if row.agreement is not None]


def _draw_costs(models: Models) -> list[Picture]:
    pictures = []
    entries: list[tuple[Series, Distribution]] = []
    for series, variant in models:
        for form, latency in variant.latency.items():
            entries.append((Series(series.number, describe_variant(variant.name, form)), latency.total))
    if entries:
        fastest, slowest = (best(entries, key=lambda entry: entry[1].p50) for best in (min, max))
        answer = f"{fastest[0].name}, {format_milliseconds(fastest[1].p50)}."
        if len(entries) > 1:
            answer = f"Fastest: {answer} Slowest: {slowest[0].name}, {format_milliseconds(slowest[1].p50)}."
        note = "The stroke is the median, the box holds the middle half, the line goes from 1st to 99th percentile."
        caption = Caption("How long does a decision take?", answer, note)
        pictures.append(Picture.of(caption, lambda frame: chart.latency_distributions(frame, entries), []))
    costs = {series: points for series, variant in models if (points := _list_cost_points(variant))}
    if len(costs) > 1:
        note = (
            "Left is cheaper, up is better. The cost is the time that a second of audio takes, at the decisions that "
            "each model makes: a window every 0.25 s, a step every 0.256 s. A windowed model has a point for each "
            "window, any other model one at the longest length."
        )
        caption = Caption("What does accuracy cost?", "", note)
        pictures.append(
            Picture.of(caption, lambda frame: chart.accuracy_against_cost(frame, costs), _make_lines(costs))
        )
    return [*pictures, *_draw_windows(models)]


def _draw_windows(models: Models) -> list[Picture]:
    numbers = {variant.name: series.number for series, variant in models}
    grouped = group_windows([variant for _, variant in models])
    if not grouped:
        return []
    windows = {Series(numbers.get(name, i), name): costs for i, (name, costs) in enumerate(grouped.items())}
    steps = {
        Series(series.number, f"{variant.name} (step)"): variant.latency["step"].total.p50
        for series, variant in models
        if "step" in variant.latency
    }
    note = "A windowed model computes its whole window for each decision; a step computes the new audio alone."
    caption = Caption("What does a longer window cost?", "", note)
    keys = _make_lines([*windows, *steps])
    return [Picture.of(caption, lambda frame: chart.cost_by_length(frame, windows, steps), keys)]


def _draw_memory(models: Models) -> list[Picture]:
    parts = {series: sizes for series, v in models if v.memory and (sizes := _divide_memory(v.memory))}
    if not parts:
        return []
    totals = {series.name: sum(sizes.values()) for series, sizes in parts.items()}
    least, most = min(totals, key=totals.__getitem__), max(totals, key=totals.__getitem__)
    answer = f"{least}, {totals[least]:.0f} MB."
    if len(totals) > 1:
        answer = f"Least: {answer} Most: {most}, {totals[most]:.0f} MB."
    caption = Caption("How much memory does it need?", answer, "The peak is of the time since the model was opened.")
    keys = [make_fill(i, name) for i, name in enumerate(next(iter(parts.values())))]
    return [Picture.of(caption, lambda frame: chart.memory(frame, parts), keys)]


def _divide_memory(memory: Memory) -> dict[str, float] | None:
    """Contribution of each part of a process to its memory, MB; None where it is not known."""
    bare, front_end, imported, peak = memory.bare, memory.front_end, memory.imported, memory.peak
    if bare is None or front_end is None or imported is None or not peak:
        return None
    sizes = {"interpreter": bare, "front end": front_end - bare, "runtime": imported - front_end}
    return {name: size / 1e6 for name, size in (*sizes.items(), ("model", peak - imported))}


def group_windows(variants: Sequence[Variant]) -> dict[str, dict[int, float]]:
    """Return medians by length of windowed models, ms; files of one model and engine, a length each, are one line."""
    lines: dict[tuple[str, str, str], dict[int, float]] = {}
    names: dict[tuple[str, str, str], list[str]] = {}
    for variant in variants:
        if variant.form == "windowed" and variant.latency:
            key = variant.engine, variant.scheme, variant.checkpoint_sha256
            costs = {int(form): latency.total.p50 for form, latency in variant.latency.items()}
            lines[key] = dict(sorted((lines.get(key, {}) | costs).items()))
            names.setdefault(key, []).append(variant.name)
    engines = [key[0] for key in lines]
    alone = {key for key in lines if len(names[key]) > 1 and engines.count(key[0]) == 1}
    return {key[0] if key in alone else names[key][0]: costs for key, costs in lines.items()}


def _list_cost_points(variant: Variant) -> list[CostPoint]:
    """The points of a model: each of its windows; a step at the longest length."""
    points = []
    for form, latency in variant.latency.items():
        if row := variant.accuracy_at(form):
            cost = latency.total.p50 / latency.period_s
            points.append(CostPoint(row.seconds, cost, 100 * row.accuracy, 100 * row.low, 100 * row.high))
    return points


def _draw_run(result: Result, models: Models) -> list[Picture]:
    """Charts over the time of the run: sustained inference, temperature, frequency."""
    pictures = []
    sustained: dict[Series, Points] = {}
    ratios = []
    for series, variant in models:
        for form, latency in variant.latency.items():
            if latency.sustained:
                medians, seconds = latency.sustained.medians_ms, latency.sustained.seconds
                points = [(seconds * (i + 0.5) / len(medians), median) for i, median in enumerate(medians)]
                sustained[Series(series.number, describe_variant(variant.name, form))] = points
                ratios.append(latency.sustained.ratio)
    if sustained:
        answer = f"The last tenth took {min(ratios):.2f} to {max(ratios):.2f} times as long as the first."
        note = "The median of a decision while each model ran without a pause, one after another."
        caption = Caption("Does it slow down?", answer, note)
        pictures.append(_draw_lines(caption, sustained, "ms", "seconds of sustained inference"))
    samples = result.conditions
    temperature = [(s.at, s.temperature_c) for s in samples if s.temperature_c is not None]
    if temperature:
        caption = Caption("How warm did the machine get?", f"At most {max(y for _, y in temperature):.0f} °C.")
        pictures.append(_draw_lines(caption, {Series(0, "hottest zone"): temperature}, "°C"))
    frequency = [(s.at, max(s.frequency_mhz)) for s in samples if s.frequency_mhz]
    if frequency:
        low, high = min(y for _, y in frequency), max(y for _, y in frequency)
        caption = Caption("How fast did the processor run?", f"{low:.0f} to {high:.0f} MHz.")
        pictures.append(_draw_lines(caption, {Series(0, "fastest core"): frequency}, "MHz"))
    return pictures


def _draw_lines(
    caption: Caption, lines: Mapping[Series, Points], unit: str, time: str = "seconds since the run began"
) -> Picture:
    return Picture.of(caption, lambda frame: chart.over_time(frame, lines, unit, time), _make_lines(lines))
