"""The report: one self-contained HTML page of the JSON that the commands print."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge_asc.errors import EdgeAscError, require
from edge_asc.files import write_bytes
from edge_asc_bench.result import agreement, read

KINDS = ("bench", "export", "classification", "evaluation")

# Width and height of the pictures, and of the plain area in them.
WIDTH, HEIGHT, LEFT, BOTTOM = 600, 240, 40, 24


def write_report(results: Sequence[Path], output: Path) -> None:
    """Read results and write the page.

    Raises:
        EdgeAscError: a file is not JSON, or not the JSON of a command.
        MissingExtraError: jinja2 is not installed.
    """
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for path in results:
        value = _read(path)
        found[value["kind"]].append(read(path) if value["kind"] == "bench" else value)
    write_bytes(output, render(found).encode())


def render(found: dict[str, list[dict[str, Any]]]) -> str:
    """The page, from results by kind."""
    jinja2 = require("jinja2", "bench")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    template = environment.from_string((files("edge_asc_bench") / "report.html").read_text())
    try:
        streams = [_stream(value) for value in found["classification"]]
    except (KeyError, TypeError) as error:
        raise EdgeAscError(f"a classification lacks a field ({error}); make it again with this version") from error
    try:
        page: str = template.render(
            benches=[_bench(value) for value in found["bench"]],
            exports=found["export"],
            streams=streams,
            evaluations=found["evaluation"],
        )
    except (jinja2.UndefinedError, KeyError, TypeError, IndexError) as error:
        raise EdgeAscError(f"a result lacks a field ({error}); make it again with this version") from error
    return page


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        kind = value["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeAscError(
            f"{path}: not a result ({error!r}); expected what bench writes, or what export, classify or evaluate print "
            "with --json"
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


# Title, and how to find a value of a variant and one of its latencies; smaller is better, but for the last two.
COLUMNS: tuple[tuple[str, Callable[[dict[str, Any], dict[str, Any]], float | None], str], ...] = (
    ("p50 ms", lambda _, latency: latency["total"]["p50"], ".3g"),
    ("p90 ms", lambda _, latency: latency["total"]["p90"], ".3g"),
    ("p99 ms", lambda _, latency: latency["total"]["p99"], ".3g"),
    ("max ms", lambda _, latency: latency["total"]["maximum"], ".3g"),
    ("front end, p50", lambda _, latency: latency["front_end"]["p50"], ".3g"),
    ("model, p50", lambda _, latency: latency["model"]["p50"], ".3g"),
    ("real time", lambda _, latency: latency["real_time_factor"], ".4f"),
    ("cold start ms", lambda _, latency: latency["cold_start_ms"], ".0f"),
    ("peak MB", lambda variant, _: _mega(variant["memory"]["peak"]), ".1f"),
    ("KB", lambda variant, _: variant["bytes"] / 1000, ".0f"),
    ("state KB", lambda variant, _: variant["state_bytes"] / 1000, ".1f"),
    ("accuracy %", lambda variant, _: _accuracy(variant), ".1f"),
    ("agreement", lambda variant, _: agreement(variant), ".4f"),
)
LARGER_IS_BETTER = ("accuracy %", "agreement")


def _bench(value: dict[str, Any]) -> dict[str, Any]:
    """A benchmark with its table, the best of each column marked, and its picture."""
    entries = [
        (variant, form, latency) for variant in value["variants"] for form, latency in variant["latency"].items()
    ]
    columns, cells = [title for title, _, _ in COLUMNS], []
    for title, get, style in COLUMNS:
        numbers = [get(variant, latency) for variant, _, latency in entries]
        known = [number for number in numbers if number is not None]
        best = (max if title in LARGER_IS_BETTER else min)(known) if len(known) > 1 else None
        cells.append([("" if n is None else format(n, style), n is not None and n == best) for n in numbers])
    rows = [
        {
            "name": variant["name"],
            "form": form if form == "step" else f"{form} s",
            "cells": [column[i] for column in cells],
            "unstable": latency["unstable"],
            "sustained": latency["sustained"],
        }
        for i, (variant, form, latency) in enumerate(entries)
    ]
    return {**value, "columns": columns, "rows": rows, "curves": _curves(value["variants"])}


def _curves(variants: Sequence[dict[str, Any]]) -> dict[str, Any] | None:
    """Accuracy against length of each variant; None where accuracy was not measured."""
    measured = [variant for variant in variants if variant["accuracy"]]
    if not measured:
        return None
    lengths = [row["seconds"] for row in measured[0]["accuracy"]["lengths"]]
    shares = [row["accuracy"] for variant in measured for row in variant["accuracy"]["lengths"]]
    low, high = max(0.0, min(shares) - 0.05), min(1.0, max(shares) + 0.02)
    span = max(lengths) - min(lengths) or 1

    def point(seconds: float, share: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - 10) * (seconds - min(lengths)) / span
        return x, (HEIGHT - BOTTOM) * (1 - (share - low) / (high - low))

    lines = []
    for i, variant in enumerate(measured):
        places = [point(row["seconds"], row["accuracy"]) for row in variant["accuracy"]["lengths"]]
        lines.append(
            {"name": variant["name"], "hue": 47 * i % 360, "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in places)}
        )
    ticks = [(f"{seconds:g} s", round(point(seconds, low)[0], 1)) for seconds in lengths]
    ends = [(f"{100 * share:.0f} %", round(point(lengths[0], share)[1], 1)) for share in (low, high)]
    return {"lines": lines, "ticks": ticks, "ends": ends, "width": WIDTH, "height": HEIGHT}


def _mega(size: int | None) -> float | None:
    return None if size is None else size / 1e6


def _accuracy(variant: dict[str, Any]) -> float | None:
    return 100 * variant["accuracy"]["lengths"][-1]["accuracy"] if variant["accuracy"] else None
