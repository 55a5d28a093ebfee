"""The report: one self-contained HTML page of the JSON that the commands print, or Markdown for a pull request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge_asc.errors import EdgeAscError, require
from edge_asc_bench import chart
from edge_asc_bench.result import accuracy_at, agreement, form_title, read, titled

KINDS = ("bench", "export", "classification", "evaluation", "conformance", "table1", "figure3", "figure4")


def load(results: Sequence[Path]) -> dict[str, list[dict[str, Any]]]:
    """Results by kind, checked.

    Raises:
        EdgeAscError: a file is not JSON, or not the JSON of a command.
    """
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for path in results:
        value = _read(path)
        found[value["kind"]].append(read(path) if value["kind"] == "bench" else value)
    return found


def page(found: dict[str, list[dict[str, Any]]]) -> str:
    """The HTML page of results.

    Raises:
        EdgeAscError: a result lacks a field.
        MissingExtraError: jinja2 or matplotlib is not installed.
    """
    return _rendered("report.html", found)


def markdown(found: dict[str, list[dict[str, Any]]]) -> str:
    """The tables of benchmarks, evaluations and reproductions as Markdown; errors as of `page`."""
    return _rendered("report.md", found)


def _rendered(template_name: str, found: dict[str, list[dict[str, Any]]]) -> str:
    jinja2 = require("jinja2", "bench")
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files("edge_asc_bench") / name).read_text()),
        autoescape=template_name.endswith(".html"),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    template, charts = environment.get_template(template_name), template_name.endswith(".html")
    try:
        streams = [_stream(value) for value in found["classification"]]
    except (KeyError, TypeError) as error:
        raise EdgeAscError(f"a classification lacks a field ({error}); make it again with this version") from error
    try:
        text: str = template.render(
            benches=[_bench(value, charts=charts) for value in found["bench"]],
            machines=_machines(found["bench"]),
            exports=found["export"],
            streams=streams,
            evaluations=[{**value, "by_length": _by_length(value["results"])} for value in found["evaluation"]],
            conformances=[_conformance(value) for value in found["conformance"]],
            table1=[{**value, "printed": any(row["paper"] for row in value["rows"])} for value in found["table1"]],
            figure3=[{**value, "picture": charts and chart.state_maps(value)} for value in found["figure3"]],
            figure4=[_figure4(value, charts=charts) for value in found["figure4"]],
        )
    except (jinja2.UndefinedError, KeyError, TypeError, IndexError) as error:
        raise EdgeAscError(f"a result lacks a field ({error}); make it again with this version") from error
    return text


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        kind = value["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeAscError(
            f"{path}: not a result ({error!r}); expected what bench, conformance, cost and reproduce write, or "
            "what export, classify or evaluate print with --json"
        ) from error
    if kind not in KINDS:
        raise EdgeAscError(f"{path}: a result of kind {kind!r}; expected {', '.join(KINDS)}")
    return value


def _stream(value: dict[str, Any]) -> dict[str, Any]:
    """A classification with the likeliest label's probability at each decision, as points of a 600 × 80 picture."""
    decisions = value["decisions"]
    last = decisions[-1]["time"] if decisions else 1.0
    points = [(600 * d["time"] / last, 80 * (1 - max(d["probabilities"]))) for d in decisions]
    return {**value, "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points), "last": last}


def _figure4(value: dict[str, Any], *, charts: bool) -> dict[str, Any]:
    """A Figure 4 with its picture, and means over steps as a row for each model and carry mode."""
    curves = [(model["name"], curve) for model in value["models"] for curve in model["curves"]]
    lengths = sorted({curve["seconds"] for _, curve in curves if curve["seconds"]})
    columns = [*lengths, None]
    rows: dict[tuple[str, str], list[tuple[float | None, float | None]]] = {}
    for name, curve in curves:
        cells = rows.setdefault((name, curve["carry"]), [(None, None)] * len(columns))
        cells[columns.index(curve["seconds"])] = (_mean(curve["recall"]), _mean(curve["accuracy"]))
    return {
        **value,
        "picture": chart.recall_curves(value) if charts else "",
        "lengths": lengths,
        "rows": [(name, carry, cells) for (name, carry), cells in rows.items()],
    }


def _mean(values: Sequence[float] | None) -> float | None:
    return sum(values) / len(values) if values else None


# Title, and how to find a value of a variant and one of its latencies (None if it was not timed), and its format.
Get = Callable[[dict[str, Any], dict[str, Any] | None], float | None]
COLUMNS: tuple[tuple[str, Get, str], ...] = (
    ("p50 ms", lambda _, latency: _of(latency, "total", "p50"), ".3g"),
    ("p90 ms", lambda _, latency: _of(latency, "total", "p90"), ".3g"),
    ("p99 ms", lambda _, latency: _of(latency, "total", "p99"), ".3g"),
    ("max ms", lambda _, latency: _of(latency, "total", "maximum"), ".3g"),
    ("mean ms", lambda _, latency: _of(latency, "total", "mean"), ".3g"),
    ("deviation", lambda _, latency: _of(latency, "total", "deviation"), ".2g"),
    ("front end, p50", lambda _, latency: _of(latency, "front_end", "p50"), ".3g"),
    ("model, p50", lambda _, latency: _of(latency, "model", "p50"), ".3g"),
    ("engine, p50", lambda _, latency: _of(latency, "engine", "p50"), ".3g"),
    ("real time", lambda _, latency: _of(latency, "real_time_factor"), ".4f"),
    ("load ms", lambda _, latency: _of(latency, "load_ms"), ".0f"),
    ("cold start ms", lambda _, latency: _of(latency, "cold_start_ms"), ".0f"),
    ("sustained ×", lambda _, latency: _of(latency, "sustained", "ratio"), ".2f"),
    ("grown KB", lambda _, latency: _grown(latency), ".0f"),
    ("peak MB", lambda variant, _: _mega(variant, "peak"), ".1f"),
    ("KB", lambda variant, _: variant["bytes"] / 1000, ".0f"),
    ("state KB", lambda variant, _: variant["state_bytes"] / 1000, ".1f"),
    ("accuracy %", lambda variant, latency: _accuracy(variant, latency), ".1f"),
    ("agreement", lambda variant, _: agreement(variant), ".4f"),
)
LARGER_IS_BETTER = ("accuracy %", "agreement")
# The first column that is no time: those from it on stand in a table of their own, for the width of paper.
FIRST_OTHER = "peak MB"
# What a process holds: the part of its memory, and what stood before it.
PARTS = (("interpreter", "bare", None), ("front end", "front_end", "bare"), ("runtime", "imported", "front_end"))


def _bench(value: dict[str, Any], *, charts: bool) -> dict[str, Any]:
    """A benchmark with its tables, the best of each column marked, and its charts."""
    emulated = value["machine"]["emulated"]
    variants = [{**v, "latency": {}, "memory": None} if emulated else v for v in value["variants"]]
    entries: list[tuple[dict[str, Any], str, dict[str, Any] | None]] = [
        (variant, form, latency) for variant in variants for form, latency in (variant["latency"] or {"": None}).items()
    ]
    columns, cells = [], []
    for title, get, style in COLUMNS:
        numbers = [get(variant, latency) for variant, _, latency in entries]
        known = [number for number in numbers if number is not None]
        if not known:
            continue
        best = (max if title in LARGER_IS_BETTER else min)(known) if len(known) > 1 else None
        columns.append(title)
        cells.append([("" if n is None else format(n, style), n is not None and n == best) for n in numbers])
    rows = [
        {
            "name": variant["name"],
            "form": form_title(form) if latency else "",
            "cells": [column[i] for column in cells],
            "unstable": latency["unstable"] if latency else [],
        }
        for i, (variant, form, latency) in enumerate(entries)
    ]
    return {
        **value,
        "emulated": emulated,
        "references": _references(value),
        "columns": columns,
        "parts": [part for part in _split(columns) if part],
        "rows": rows,
        "losses": _losses(variants),
        "accuracies": (measured := [variant for variant in variants if variant["accuracy"]]),
        "by_length": _by_length([variant["accuracy"] for variant in measured]),
        "instructions": _instructions(variants),
        "costs": [v for v in variants if v["macs"] or v["graph"]],
        "charts": _charts(value, variants) if charts else [],
    }


def _references(value: Mapping[str, Any]) -> list[str]:
    """What decisions are compared with: a checkpoint of each form."""
    named = (v["accuracy"]["reference"] for v in value["variants"] if v["accuracy"])
    return [name for name in dict.fromkeys([value["reference"], *named]) if name]


def _split(columns: Sequence[str]) -> tuple[list[int], list[int]]:
    """The numbers of the columns with times, and of the others."""
    titles = [title for title, _, _ in COLUMNS]
    others = {title for title in columns if titles.index(title) >= titles.index(FIRST_OTHER)}
    numbers = range(len(columns))
    return [i for i in numbers if columns[i] not in others], [i for i in numbers if columns[i] in others]


def _losses(variants: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """What each model lost to the one it was made of, in points, at each length and over all decisions."""
    own = []
    for variant in variants:
        parts = [(part, points) for part, points in (variant["loss"] or {}).items() if points]
        if parts:
            own.append((variant["name"], *parts[-1]))
    keys = list(dict.fromkeys(key for _, _, points in own for key in points))
    if not keys:
        return None
    rows = [(name, part, [points.get(key) for key in keys]) for name, part, points in own]
    return {"columns": [f"{key} s" if key != "all" else "all decisions" for key in keys], "rows": rows}


def _instructions(variants: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The aarch64 instructions of a decision by processor, and where an int8 artefact takes more than its float one."""
    counted = [variant for variant in variants if variant["instructions"]]
    if not counted:
        return None
    rows = [
        (variant["name"], processor, parts)
        for variant in counted
        for processor, parts in variant["instructions"].items()
    ]
    dearer = [
        f"{variant['name']} takes more than {other['name']} on {processor}"
        for variant in counted
        for processor, parts in variant["instructions"].items()
        if variant["scheme"].startswith("int8") and (other := _float_of(variant, counted))
        if parts["total"] > other["instructions"].get(processor, parts)["total"]
    ]
    return {"rows": rows, "dearer": dearer}


def _float_of(variant: Mapping[str, Any], variants: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The float artefact of the same checkpoint in the same runtime and form."""
    keys = ("engine", "form", "checkpoint_sha256")
    alike = (other for other in variants if other["scheme"] == "none" and all(other[k] == variant[k] for k in keys))
    return next(alike, None)


def _conformance(value: dict[str, Any]) -> dict[str, Any]:
    """A conformance with a row for each artefact and a column for each processor."""
    processors = list(dict.fromkeys(row["processor"] for row in value["comparisons"]))
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for row in value["comparisons"]:
        rows.setdefault((row["artefact"], row["engine"]), {})[row["processor"]] = row
    return {**value, "processors": processors, "rows": rows}


def _charts(value: dict[str, Any], variants: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Title, picture and explanation of each chart that there are numbers for."""
    found = []
    measured = [variant for variant in variants if variant["accuracy"]]
    if measured:
        curves = {variant["name"]: variant["accuracy"]["lengths"] for variant in measured}
        note = f"The band is the 95 % interval of {measured[0]['name']}."
        found.append(("Accuracy against time since reset", chart.accuracy_by_length(curves), note))
    entries = [
        (titled(variant["name"], form), latency) for variant in variants for form, latency in variant["latency"].items()
    ]
    if entries:
        note = "The box holds the middle half, the stroke is the median, the line goes from 1st to 99th percentile."
        found.append(("Time of a decision", chart.latency_distributions(entries), note))
    windows = _windows(variants)
    steps = {v["name"]: v["latency"]["step"]["total"]["p50"] for v in variants if "step" in v["latency"]}
    if windows:
        note = "A windowed model hears its whole window for each decision; a step hears what is new."
        found.append(("Cost against length", chart.cost_by_length(windows, steps), note))
    costs = {
        variant["name"]: points
        for variant in measured
        if (points := _cost_points(variant)) and any(v["form"] == "windowed" for v in measured)
    }
    if costs:
        note = (
            "To the left is cheaper, up is better. The cost is the time that a second of audio takes, at the decisions "
            "that each model makes: a window every 0.25 s, a step every 0.256 s. The numbers are seconds heard."
        )
        found.append(("Accuracy against cost", chart.accuracy_against_cost(costs), note))
    parts = {v["name"]: _parts(v["memory"]) for v in variants if v["memory"] and v["memory"]["peak"]}
    if parts:
        note = "The peak is of the time since the model was opened."
        found.append(("Memory", chart.memory(parts), note))
    return found + _over_time(value, variants)


def _windows(variants: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """Medians by length of windowed models, ms; files of one model and engine, a length each, are one line."""
    found: dict[tuple[str, ...], dict[int, float]] = {}
    names: dict[tuple[str, ...], list[str]] = {}
    for variant in variants:
        if variant["form"] == "windowed" and variant["latency"]:
            key = variant["engine"], variant["scheme"], variant["checkpoint_sha256"]
            costs = {int(form): latency["total"]["p50"] for form, latency in variant["latency"].items()}
            found[key] = dict(sorted((found.get(key, {}) | costs).items()))
            names.setdefault(key, []).append(variant["name"])
    engines = [key[0] for key in found]
    alone = {key for key in found if len(names[key]) > 1 and engines.count(key[0]) == 1}
    return {key[0] if key in alone else names[key][0]: costs for key, costs in found.items()}


def _cost_points(variant: Mapping[str, Any]) -> list[tuple[float, float, float]]:
    """Seconds heard, ms of computing for a second of audio, and accuracy in per cent, of each window or length."""
    points = []
    for form, latency in variant["latency"].items():
        cost = latency["total"]["p50"] / latency["period_s"]
        rows = variant["accuracy"]["lengths"] if form == "step" else [accuracy_at(variant, form)]
        points += [(row["seconds"], cost, 100 * row["accuracy"]) for row in rows if row]
    return points


def _over_time(value: dict[str, Any], variants: Sequence[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Charts of a run: times without a pause, temperature, frequency."""
    found = []
    sustained = {
        titled(variant["name"], form): [
            (latency["sustained"]["seconds"] * (i + 0.5) / len(latency["sustained"]["medians_ms"]), median)
            for i, median in enumerate(latency["sustained"]["medians_ms"])
        ]
        for variant in variants
        for form, latency in variant["latency"].items()
        if latency["sustained"]
    }
    if sustained:
        note = "The median of a decision while each model ran without a pause, one after another."
        picture = chart.over_time(sustained, "ms", "seconds without a pause")
        found.append(("Sustained", picture, note))
    samples = value["conditions"]
    temperature = [(s["at"], s["temperature_c"]) for s in samples if s["temperature_c"] is not None]
    if temperature:
        found.append(("Temperature", chart.over_time({"hottest zone": temperature}, "°C"), ""))
    frequency = [(s["at"], max(s["frequency_mhz"])) for s in samples if s["frequency_mhz"]]
    if frequency:
        found.append(("Frequency", chart.over_time({"fastest core": frequency}, "MHz"), ""))
    return found


def _machines(benches: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """The median of each model on each machine, where there are several; emulated ones have none."""
    timed = [value for value in benches if not value["machine"]["emulated"]]
    if len(timed) < 2:
        return None
    table: dict[str, dict[int, float]] = {}
    for i, value in enumerate(timed):
        for variant in value["variants"]:
            for form, latency in variant["latency"].items():
                name = titled(variant["name"], form)
                table.setdefault(name, {})[i] = latency["total"]["p50"]
    table = {name: row for name, row in table.items() if len(row) > 1}
    if not table:
        return None
    names = [
        f"{value['machine'].get('board') or value['machine'].get('cpu') or 'unknown'} ({value['made']['target']})"
        for value in timed
    ]
    return {"names": names, "rows": [(name, [row.get(i) for i in range(len(timed))]) for name, row in table.items()]}


def _of(latency: Mapping[str, Any] | None, *path: str) -> float | None:
    value: Any = latency
    for name in path:
        if value is None:
            return None
        value = value.get(name)
    return None if value is None else float(value)


def _grown(latency: Mapping[str, Any] | None) -> float | None:
    """How much more was resident after a run without a pause, KB."""
    resident = ((latency or {}).get("sustained") or {}).get("resident", [None])
    return None if None in resident else (resident[-1] - resident[0]) / 1000


def _parts(memory: Mapping[str, int]) -> dict[str, float]:
    sizes = {name: (memory[end] - (memory[start] if start else 0)) / 1e6 for name, end, start in PARTS}
    return {**sizes, "model": (memory["peak"] - memory["imported"]) / 1e6}


def _mega(variant: dict[str, Any], name: str) -> float | None:
    size = variant["memory"][name] if variant["memory"] else None
    return None if size is None else size / 1e6


def _accuracy(variant: Mapping[str, Any], latency: Mapping[str, Any] | None) -> float | None:
    """At the longest length, or at that of the window whose times these are, in per cent."""
    form = next((form for form, found in variant["latency"].items() if found is latency), "step")
    row = accuracy_at(variant, form)
    return None if row is None else 100 * row["accuracy"]


def _by_length(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Accuracies of several models as a table: all lengths, and a model's row at each of them, or None."""
    lengths = sorted({row["seconds"] for value in measured for row in value["lengths"]})
    rows = [{row["seconds"]: row for row in value["lengths"]} for value in measured]
    return {"lengths": lengths, "rows": [[found.get(seconds) for seconds in lengths] for found in rows]}
