"""The result of a benchmark, which is the baseline of a gate, too: read, compared with itself, shown as a page."""

from __future__ import annotations

import json
from pathlib import Path

from edge_asc_bench import gate, page
from edge_asc_bench.finding import to_junit, to_markdown
from edge_asc_bench.limits import Limits
from edge_asc_bench.result import read as read_result
from fuzz.mutations import mutate_json
from fuzz.target import Seeds, Target

BASELINES = Path(__file__).parents[3] / "benchmarks/baselines"


def seeds(folder: Path) -> Seeds:
    names = ("recordings/fuse.json", "generated/resnet.json", "arm.json")
    return {name.replace("/", "-"): _shorten((BASELINES / name).read_bytes()) for name in names}


def _shorten(data: bytes) -> bytes:
    """Keep two models: the others are of the same kinds, and slow to draw."""
    value = json.loads(data)
    return json.dumps({**value, "variants": value["variants"][:2]}).encode()


def read(path: Path) -> str:
    result = read_result(path)
    try:
        comparison = gate.check(result, result, Limits())
    finally:
        markdown = page.to_markdown(page.load([path]))
    assert not comparison.regressions, comparison.regressions
    return to_junit(comparison) + to_markdown(comparison) + markdown


TARGET = Target(seeds, read, mutate_json, other_answers=True)
