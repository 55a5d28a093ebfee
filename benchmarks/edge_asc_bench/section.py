"""The section of a page about one benchmark: its tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from edge_asc_bench.cards import Card, make_cards
from edge_asc_bench.contest import Contest, find_contest, list_variants
from edge_asc_bench.latency import Distribution
from edge_asc_bench.pictures import Picture, draw
from edge_asc_bench.quality import find_float
from edge_asc_bench.result import (
    Accuracy,
    Instructions,
    Latency,
    LengthAccuracy,
    Result,
    Variant,
)
from edge_asc_bench.verdict import Verdict, judge_benchmark, name_machine
from edge_asc_bench.wording import describe_form, describe_variant

Get = Callable[[Variant, str, Latency | None], float | None]
"""A value of a variant in one form (None if it was not timed); None where it was not measured."""


@dataclass(frozen=True)
class Column:
    """A column of the main table.

    Attributes:
        title: of the column.
        get: its value.
        style: format of its values.
        is_time: it stands in the table of times, else in that of other values.
        term: of the glossary.
        larger_is_better: the best value is the largest.
    """

    title: str
    get: Get
    style: str
    is_time: bool = True
    larger_is_better: bool = False
    term: str = ""


def _get_of_total(name: str) -> Get:
    return lambda variant, form, latency: None if latency is None else getattr(latency.total, name)


def _get_median(part: str) -> Get:
    def get(variant: Variant, form: str, latency: Latency | None) -> float | None:
        times = getattr(latency, part) if latency else None
        return times.p50 if isinstance(times, Distribution) else None

    return get


def _get_of_latency(name: str) -> Get:
    return lambda variant, form, latency: None if latency is None else getattr(latency, name)


def _get_sustained_ratio(variant: Variant, form: str, latency: Latency | None) -> float | None:
    return latency.sustained.ratio if latency and latency.sustained else None


def _get_growth(variant: Variant, form: str, latency: Latency | None) -> float | None:
    """Growth of the resident memory during sustained inference, KB."""
    if latency is None or latency.sustained is None:
        return None
    before, after = latency.sustained.resident
    return None if before is None or after is None else (after - before) / 1000


def _get_peak(variant: Variant, form: str, latency: Latency | None) -> float | None:
    return variant.memory.peak / 1e6 if variant.memory and variant.memory.peak is not None else None


def _get_arena(variant: Variant, form: str, latency: Latency | None) -> float | None:
    return None if variant.arena is None else variant.arena / 1000


def _get_accuracy(variant: Variant, form: str, latency: Latency | None) -> float | None:
    """At the longest length, or at that of the window whose times these are, in per cent."""
    row = variant.accuracy_at(form)
    return None if row is None else 100 * row.accuracy


COLUMNS = (
    Column("p50 ms", _get_of_total("p50"), ".3g", term="median"),
    Column("p90 ms", _get_of_total("p90"), ".3g"),
    Column("p99 ms", _get_of_total("p99"), ".3g", term="p99"),
    Column("max ms", _get_of_total("maximum"), ".3g"),
    Column("mean ms", _get_of_total("mean"), ".3g"),
    Column("deviation", _get_of_total("deviation"), ".2g", term="deviation"),
    Column("front end, p50", _get_median("front_end"), ".3g", term="front-end"),
    Column("model, p50", _get_median("model"), ".3g"),
    Column("engine, p50", _get_median("engine"), ".3g", term="engine"),
    Column("real time", _get_of_latency("real_time_factor"), ".4f", term="real-time"),
    Column("load ms", _get_of_latency("load_ms"), ".0f"),
    Column("cold start ms", _get_of_latency("cold_start_ms"), ".0f", term="cold-start"),
    Column("sustained ×", _get_sustained_ratio, ".2f", term="sustained"),
    Column("grown KB", _get_growth, ".0f"),
    Column("peak MB", _get_peak, ".1f", is_time=False, term="peak"),
    Column("KB", lambda variant, *_: variant.bytes / 1000, ".0f", is_time=False),
    Column("arena KB", _get_arena, ".0f", is_time=False, term="arena"),
    Column("state KB", lambda variant, *_: variant.state_bytes / 1000, ".1f", is_time=False, term="state"),
    Column("accuracy %", _get_accuracy, ".1f", is_time=False, larger_is_better=True, term="accuracy"),
    Column(
        "agreement",
        lambda variant, *_: variant.agreed_share,
        ".4f",
        is_time=False,
        larger_is_better=True,
        term="agreement",
    ),
    Column("KL, nats", lambda v, *_: None if v.closeness is None else v.closeness.kl, ".2g", is_time=False, term="kl"),
)


@dataclass(frozen=True)
class Row:
    """A model in one form: its number, texts of its cells, and which of them are the best of their column."""

    number: int
    name: str
    form: str
    cells: list[tuple[str, bool]]


@dataclass(frozen=True)
class LossTable:
    """Points of accuracy that each model lost to the one it was made of, by length and over all decisions."""

    columns: list[str]
    rows: list[tuple[str, str, list[float | None]]]


@dataclass(frozen=True)
class InstructionTable:
    """Instructions by model and processor; and where an int8 artefact takes more than its float one."""

    rows: list[tuple[str, str, Instructions]]
    dearer: list[str]


@dataclass(frozen=True)
class AccuracyTable:
    """Accuracies of several models: all lengths, and a model's row at each of them, or None."""

    lengths: list[int | float]
    rows: list[list[LengthAccuracy | None]]


@dataclass(frozen=True)
class Section:
    """A benchmark with its tables and charts.

    Attributes:
        result: of the benchmark.
        title: where it was measured.
        verdict: on it.
        contest: the model that the cards are about, and its rivals; None where nothing was measured.
        cards: figures of that model.
        models: names of all models; their places are their numbers in charts and tables.
        failures: models that failed, with the reason.
        unstable: models whose times cannot be trusted, with the reasons.
        references: names of the models that decisions are compared with.
        columns: of the main table.
        parts: indices of the columns with times, and of the others; a table each, for the width of paper.
        rows: of the main table.
        losses, instructions, by_length: None or empty where there is nothing to show.
        accuracies: variants with accuracy, in the order of `by_length`.
        costs: variants whose operations are known.
        charts: drawn.
    """

    result: Result
    title: str
    verdict: Verdict
    contest: Contest | None
    cards: list[Card]
    models: list[str]
    failures: dict[str, str]
    unstable: dict[str, str]
    references: list[str]
    columns: list[Column]
    parts: list[list[int]]
    rows: list[Row]
    losses: LossTable | None
    instructions: InstructionTable | None
    accuracies: list[Variant]
    by_length: AccuracyTable
    costs: list[Variant]
    charts: list[Picture]


def make_section(result: Result, *, charts: bool) -> Section:
    """Return the section of a result; times and memory of an emulated machine are left out."""
    variants, contest = list_variants(result), find_contest(result)
    columns, rows = _tabulate(variants)
    instructions = _tabulate_instructions(variants)
    accuracies = [(variant, variant.accuracy) for variant in variants if variant.accuracy]
    parts = [[i for i, column in enumerate(columns) if column.is_time is is_time] for is_time in (True, False)]
    return Section(
        result=result,
        title=f"Counted on {result.made.target}" if instructions else f"Measured on {name_machine(result)}",
        verdict=judge_benchmark(result),
        contest=contest,
        cards=make_cards(contest, result) if contest else [],
        models=[variant.name for variant in variants],
        failures={variant.name: variant.failed for variant in variants if isinstance(variant.failed, str)},
        unstable=_list_unstable(variants),
        references=_list_references(result),
        columns=columns,
        parts=[part for part in parts if part],
        rows=rows,
        losses=_tabulate_losses(variants),
        instructions=instructions,
        accuracies=[variant for variant, _ in accuracies],
        by_length=tabulate_accuracy([accuracy for _, accuracy in accuracies]),
        costs=[variant for variant in variants if variant.macs or variant.graph],
        charts=draw(result, variants) if charts else [],
    )


def _tabulate(variants: Sequence[Variant]) -> tuple[list[Column], list[Row]]:
    """The columns that have values, and a row for each model in each form."""
    entries: list[tuple[Variant, str, Latency | None]] = []
    places = {variant.name: i for i, variant in enumerate(variants)}
    for variant in variants:
        entries += [(variant, form, latency) for form, latency in variant.latency.items()]
        if not variant.latency:
            entries.append((variant, "step", None))
    columns, cells = [], []
    for column in COLUMNS:
        numbers = [column.get(*entry) for entry in entries]
        known = [number for number in numbers if number is not None]
        if not known:
            continue
        best = (max if column.larger_is_better else min)(known) if len(known) > 1 else None
        columns.append(column)
        cells.append([("" if n is None else format(n, column.style), n is not None and n == best) for n in numbers])
    rows = [
        Row(
            places[variant.name],
            variant.name,
            describe_form(form) if latency else "",
            [column[i] for column in cells],
        )
        for i, (variant, form, latency) in enumerate(entries)
    ]
    return columns, rows


def _list_unstable(variants: Sequence[Variant]) -> dict[str, str]:
    """The models whose times cannot be trusted: the reasons, by form where a model has several."""
    unstable: dict[str, str] = {}
    for variant in variants:
        doubts = {form: "; ".join(latency.unstable) for form, latency in variant.latency.items() if latency.unstable}
        if len(variant.latency) > 1:
            doubts = {form: f"{describe_form(form)}: {text}" for form, text in doubts.items()}
        if doubts:
            unstable[variant.name] = ". ".join(doubts.values())
    return unstable


def _list_references(result: Result) -> list[str]:
    """The models that decisions are compared with: a checkpoint of each form."""
    names = (variant.accuracy.reference for variant in result.variants if variant.accuracy)
    return [name for name in dict.fromkeys([result.reference, *names]) if name]


def _tabulate_losses(variants: Sequence[Variant]) -> LossTable | None:
    last = []
    for variant in variants:
        loss = variant.loss
        parts = {"streaming": loss.streaming, "export": loss.export, "quantisation": loss.quantisation} if loss else {}
        if known := [(part, points) for part, points in parts.items() if points]:
            last.append((variant.name, *known[-1]))
    keys = list(dict.fromkeys(key for _, _, points in last for key in points))
    if not keys:
        return None
    rows = [(name, part, [points.get(key) for key in keys]) for name, part, points in last]
    return LossTable([f"{key} s" if key != "all" else "all decisions" for key in keys], rows)


def _tabulate_instructions(variants: Sequence[Variant]) -> InstructionTable | None:
    counted = [(variant, variant.instructions) for variant in variants if variant.instructions]
    if not counted:
        return None
    rows = [(variant.name, processor, parts) for variant, counts in counted for processor, parts in counts.items()]
    dearer = []
    for variant, counts in counted:
        other = find_float(variant, [v for v, _ in counted]) if variant.scheme.startswith("int8") else None
        if other is None or other.instructions is None:
            continue
        for processor, parts in counts.items():
            if parts.total > other.instructions.get(processor, parts).total:
                dearer.append(f"{variant.name} takes more than {other.name} on {processor}")
    return InstructionTable(rows, dearer)


def tabulate_accuracy(accuracies: Sequence[Accuracy]) -> AccuracyTable:
    """Return the accuracies of several models as a table."""
    lengths = sorted({row.seconds for accuracy in accuracies for row in accuracy.lengths})
    return AccuracyTable(lengths, [[accuracy.at(seconds) for seconds in lengths] for accuracy in accuracies])


@dataclass(frozen=True)
class MachineTable:
    """The median of each model on each machine, ms; None where it was not measured there."""

    names: list[str]
    rows: list[tuple[str, list[float | None]]]


def make_machines(results: Sequence[Result]) -> MachineTable | None:
    """Return the medians of the models that were measured on several machines; emulated ones do not count."""
    timed = [result for result in results if not result.machine.emulated]
    if len(timed) < 2:
        return None
    table: dict[str, dict[int, float]] = {}
    for i, result in enumerate(timed):
        for variant in result.variants:
            for form, latency in variant.latency.items():
                table.setdefault(describe_variant(variant.name, form), {})[i] = latency.total.p50
    table = {name: row for name, row in table.items() if len(row) > 1}
    if not table:
        return None
    names = [f"{result.machine.board or result.machine.cpu or 'unknown'} ({result.made.target})" for result in timed]
    return MachineTable(names, [(name, [row.get(i) for i in range(len(timed))]) for name, row in table.items()])
