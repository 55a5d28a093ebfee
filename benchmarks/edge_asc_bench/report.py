"""The report: one self-contained HTML page of the JSON that the commands print."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

from edge_asc.errors import EdgeAscError, require
from edge_asc.files import write_bytes

KINDS = ("export", "classification", "evaluation")


def write_report(results: Sequence[Path], output: Path) -> None:
    """Read results and write the page.

    Raises:
        EdgeAscError: a file is not JSON, or not the JSON of a command.
        MissingExtraError: jinja2 is not installed.
    """
    found: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    for path in results:
        value = _read(path)
        found[value["kind"]].append(value)
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
        page: str = template.render(exports=found["export"], streams=streams, evaluations=found["evaluation"])
    except jinja2.UndefinedError as error:
        raise EdgeAscError(f"a result lacks a field ({error}); make it again with this version") from error
    return page


def _read(path: Path) -> dict[str, Any]:
    try:
        value: dict[str, Any] = json.loads(path.read_text())
        kind = value["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise EdgeAscError(
            f"{path}: not a result ({error!r}); expected what export, classify or evaluate print with --json"
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
