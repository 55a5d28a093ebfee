"""Benchmarks on any target, the gate against baselines, and a page about results."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_asc.public import defer_imports

if TYPE_CHECKING:
    from edge_asc_bench.gate import check
    from edge_asc_bench.job import Settings
    from edge_asc_bench.limits import Limits
    from edge_asc_bench.measurement import bench_models
    from edge_asc_bench.result import Result, read

__all__ = ["Limits", "Result", "Settings", "bench_models", "check", "read"]

# The module of each public name, imported when the name is used, and the extra that installs what it needs.
_PUBLIC = {
    "Limits": ("edge_asc_bench.limits", "bench"),
    "Result": ("edge_asc_bench.result", "bench"),
    "Settings": ("edge_asc_bench.job", ""),
    "bench_models": ("edge_asc_bench.measurement", "bench"),
    "check": ("edge_asc_bench.gate", "bench"),
    "read": ("edge_asc_bench.result", "bench"),
}

__getattr__, __dir__ = defer_imports(globals(), _PUBLIC)
