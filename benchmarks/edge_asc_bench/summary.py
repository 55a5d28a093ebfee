"""A result as a table for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from edge_asc.text import count_noun
from edge_asc_bench.result import Latency, Memory, Result, Variant


def tabulate(result: Result) -> Table:
    """Return a row for each model in each form; times and memory of an emulated machine are left out."""
    machine, data = result.machine, result.data
    where = f"{machine.cpu}, {machine.architecture}"
    clips, threads = count_noun(data.clips, "clip"), count_noun(result.settings.threads, "thread")
    title = f"{result.made.target}: {where}, {threads}; {clips} of {data.name}"
    table = Table(title=title, title_justify="left")
    for name in ("model", "form"):
        table.add_column(name, overflow="fold")
    for name in ("p50 ms", "p99 ms", "front end", "model", "real time", "cold ms", "peak MB", "KB", "arena KB"):
        table.add_column(name, justify="right")
    for name in ("accuracy %", "agreement"):
        table.add_column(name, justify="right")
    for variant in result.variants:
        sizes = f"{variant.bytes / 1000:.0f}", "" if variant.arena is None else f"{variant.arena / 1000:.0f}"
        latencies = {} if machine.emulated else variant.latency
        if not latencies:
            table.add_row(variant.name, "", *[""] * 7, *sizes, *_show_quality(variant, "step"))
        for form, latency in latencies.items():
            memory = _show_memory(variant.memory)
            table.add_row(
                variant.name, _show_form(form), *_show_times(latency), memory, *sizes, *_show_quality(variant, form)
            )
    table.caption = "p50 of front end and model separately; peak resident set, and its part above the imported runtime"
    return table


def list_notes(result: Result) -> Iterator[str]:
    """Yield what a reader of the table should know."""
    if result.machine.emulated:
        yield f"emulated by {result.machine.emulated}: times and memory are not the device's, and left out"
    if not result.complete:
        yield f"incomplete: {result.incomplete}"
    for variant in result.variants:
        if score := variant.stream:
            yield (
                f"{variant.name} on {score.seconds / 3600:.1f} h of stream: {score.detected} of {score.sounds} sounds "
                f"detected, {score.false_alarms_per_day:.1f} false alarms a day, "
                f"{score.changes_per_minute:.1f} label changes a minute"
            )
    doubts = [] if result.machine.emulated else list(_list_doubts(result))
    if doubts:
        more = f", and of {len(doubts) - 1} more" if len(doubts) > 1 else ""
        yield (f"unstable times: of {doubts[0]}{more}; end other programs and measure again; `report` has every reason")


def _list_doubts(result: Result) -> Iterator[str]:
    """Yield each model and form with unstable times, and the first reason."""
    for variant in result.variants:
        for form, latency in variant.latency.items():
            if latency.unstable:
                yield f"{variant.name} ({_show_form(form)}: {latency.unstable[0]})"


def _show_form(form: str) -> str:
    return form if form == "step" else f"window of {form} s"


def _show_times(latency: Latency) -> tuple[str, ...]:
    return (
        f"{latency.total.p50:.2f}",
        f"{latency.total.p99:.2f}",
        "" if latency.front_end is None else f"{latency.front_end.p50:.2f}",
        f"{latency.model.p50:.2f}",
        f"{latency.real_time_factor:.4f}",
        f"{latency.cold_start_ms:.0f}",
    )


def _show_memory(memory: Memory | None) -> str:
    if memory is None or memory.peak is None:
        return ""
    above = "" if memory.imported is None else f" ({(memory.peak - memory.imported) / 1e6:+.0f})"
    return f"{memory.peak / 1e6:.0f}{above}"


def _show_quality(variant: Variant, form: str) -> tuple[str, str]:
    """Accuracy at the longest length, or at the length of the row's window, and agreement."""
    share, row = variant.agreed_share, variant.accuracy_at(form)
    accuracy = "" if row is None else f"{100 * row.accuracy:.1f} at {row.seconds} s"
    return accuracy, "" if share is None else f"{share:.4f}"
