"""The charts of a benchmark: which there are, and their data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge_asc_bench import chart
from edge_asc_bench.result import Memory, Result, Variant, describe_variant

Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Picture:
    """A chart: its title, SVG and explanation."""

    title: str
    svg: str
    note: str = ""


def draw(result: Result, variants: Sequence[Variant]) -> list[Picture]:
    """Return each chart that there are values for."""
    return [*_draw_accuracy(variants), *_draw_costs(variants), *_draw_memory(variants), *_draw_run(result, variants)]


def _draw_accuracy(variants: Sequence[Variant]) -> list[Picture]:
    curves = {variant.name: variant.accuracy.lengths for variant in variants if variant.accuracy}
    if not curves:
        return []
    note = f"The band is the 95 % interval of {next(iter(curves))}."
    return [Picture("Accuracy against time since reset", chart.accuracy_by_length(curves), note)]


def _draw_costs(variants: Sequence[Variant]) -> list[Picture]:
    pictures = []
    entries = []
    for variant in variants:
        entries += [(describe_variant(variant.name, form), latency.total) for form, latency in variant.latency.items()]
    if entries:
        note = "The box holds the middle half, the stroke is the median, the line goes from 1st to 99th percentile."
        pictures.append(Picture("Time of a decision", chart.latency_distributions(entries), note))
    windows = group_windows(variants)
    steps = {v.name: v.latency["step"].total.p50 for v in variants if "step" in v.latency}
    if windows:
        note = "A windowed model computes its whole window for each decision; a step computes the new audio alone."
        pictures.append(Picture("Cost against length", chart.cost_by_length(windows, steps), note))
    costs = {variant.name: points for variant in variants if (points := _list_cost_points(variant))}
    if costs and any(variant.form == "windowed" and variant.accuracy for variant in variants):
        note = (
            "To the left is cheaper, up is better. The cost is the time that a second of audio takes, at the decisions "
            "that each model makes: a window every 0.25 s, a step every 0.256 s. The numbers are seconds of audio."
        )
        pictures.append(Picture("Accuracy against cost", chart.accuracy_against_cost(costs), note))
    return pictures


def _draw_memory(variants: Sequence[Variant]) -> list[Picture]:
    parts = {v.name: sizes for v in variants if v.memory and (sizes := _divide_memory(v.memory))}
    if not parts:
        return []
    return [Picture("Memory", chart.memory(parts), "The peak is of the time since the model was opened.")]


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


def _list_cost_points(variant: Variant) -> list[chart.CostPoint]:
    """The points of a model: each of its windows, or each length of its step."""
    points = []
    for form, latency in variant.latency.items():
        cost = latency.total.p50 / latency.period_s
        rows = variant.accuracy.lengths if variant.accuracy and form == "step" else [variant.accuracy_at(form)]
        points += [chart.CostPoint(row.seconds, cost, 100 * row.accuracy) for row in rows if row]
    return points


def _draw_run(result: Result, variants: Sequence[Variant]) -> list[Picture]:
    """Charts over the time of the run: sustained inference, temperature, frequency."""
    pictures = []
    sustained: dict[str, Points] = {}
    for variant in variants:
        for form, latency in variant.latency.items():
            if latency.sustained:
                medians, seconds = latency.sustained.medians_ms, latency.sustained.seconds
                points = [(seconds * (i + 0.5) / len(medians), median) for i, median in enumerate(medians)]
                sustained[describe_variant(variant.name, form)] = points
    if sustained:
        note = "The median of a decision while each model ran without a pause, one after another."
        svg = chart.over_time(sustained, "ms", "seconds of sustained inference")
        pictures.append(Picture("Sustained", svg, note))
    samples = result.conditions
    temperature = [(s.at, s.temperature_c) for s in samples if s.temperature_c is not None]
    if temperature:
        pictures.append(Picture("Temperature", chart.over_time({"hottest zone": temperature}, "°C")))
    frequency = [(s.at, max(s.frequency_mhz)) for s in samples if s.frequency_mhz]
    if frequency:
        pictures.append(Picture("Frequency", chart.over_time({"fastest core": frequency}, "MHz")))
    return pictures
