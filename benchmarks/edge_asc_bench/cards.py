"""Cards: the figures of one model that most readers look for, each beside those that it is compared with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from edge_asc.closeness import CLEAR_MARGIN
from edge_asc_bench.contest import Contest, name_engine
from edge_asc_bench.result import Result, Variant
from edge_asc_bench.wording import (
    compare,
    format_bytes,
    format_count,
    format_interval,
    format_milliseconds,
    format_number,
    format_share,
)

GetFigure = Callable[[Variant], float | None]


@dataclass(frozen=True)
class Card:
    """One figure.

    Attributes:
        title: what it is.
        figure: with its unit.
        unit: what the figure belongs to, such as "a decision".
        lines: comparisons and explanations.
        term: of the glossary.
    """

    title: str
    figure: str
    unit: str = ""
    lines: list[str] = field(default_factory=list)
    term: str = ""


def make_cards(contest: Contest, result: Result) -> list[Card]:
    """Return the cards that there are figures for: accuracy, agreement, speed, memory, size, instructions."""
    makers = (_make_accuracy, _make_agreement, _make_speed, _make_memory, _make_size, _make_instructions)
    return [card for make in makers if (card := make(contest, result))]


def _make_accuracy(contest: Contest, result: Result) -> Card | None:
    accuracy = contest.subject.accuracy
    if accuracy is None:
        return None
    row = accuracy.lengths[-1]
    lines = [f"{row.right:,} of {format_count(row.count, 'clip')}; 95 % interval {format_interval(row.low, row.high)}"]
    reference = contest.reference
    other = reference.accuracy.at(row.seconds) if reference and reference.accuracy else None
    if reference and other and other.count == row.count:
        difference = row.right - other.right
        more = f"{format_count(abs(difference), 'clip')} {'more' if difference > 0 else 'fewer'} than"
        lines.append(f"{more if difference else 'as many as'} {reference.name} ({format_share(other.accuracy)})")
    return Card("Accuracy", format_share(row.accuracy), f"after {row.seconds:g} s", lines, "accuracy")


def _make_agreement(contest: Contest, result: Result) -> Card | None:
    if contest.agreement is None or contest.reference is None:
        return None
    share, count = contest.agreement
    different = round((1 - share) * count)
    lines = [f"{format_count(different, 'decision')} of {count:,} differ from {contest.reference.name}"]
    closeness = contest.subject.closeness
    if closeness and closeness.clear_agreement is not None:
        clear = format_count(closeness.clear_steps, "clear decision")
        equal = "all" if closeness.clear_agreement == 1 else format_share(closeness.clear_agreement)
        lines.append(f"equal in {equal} of {clear}, those with a margin above {CLEAR_MARGIN:g}")
    if contest.subject.accuracy is None:
        lines.append(f"the clips ({result.data.name}) have no labels, so accuracy is not known")
    return Card("Agreement", format_share(share), "with float PyTorch", lines, "agreement")


def _make_speed(contest: Contest, result: Result) -> Card | None:
    latency = contest.latency
    if latency is None:
        return None
    form = contest.form
    lines = _compare_rivals(
        contest,
        lambda variant: variant.latency[form].total.p50 if form in variant.latency else None,
        ("faster", "slower", "as fast"),
        format_milliseconds,
    )
    share = f"{100 * latency.real_time_factor:.2g} %"
    lines.append(f"busy for {share} of the audio's time, on {format_count(result.settings.threads, 'thread')}")
    return Card("Speed", format_milliseconds(latency.total.p50), f"a {contest.describe_decision()}", lines, "median")


def _make_memory(contest: Contest, result: Result) -> Card | None:
    memory = contest.subject.memory
    if memory is None or memory.peak is None:
        return None
    lines = _compare_rivals(
        contest, lambda v: v.memory.peak if v.memory else None, ("less", "more", "as much"), format_bytes
    )
    if memory.imported is not None and memory.peak > memory.imported:
        lines.append(f"the model adds {format_bytes(memory.peak - memory.imported)} to its runtime")
    return Card("Memory", format_bytes(memory.peak), "at the peak of the process", lines, "peak")


def _make_size(contest: Contest, result: Result) -> Card | None:
    subject = contest.subject
    lines = _compare_rivals(contest, lambda v: v.bytes, ("smaller", "larger", "as large"), format_bytes)
    if subject.parameters:
        lines.append(f"{format_count(subject.parameters, 'parameter')}; {format_bytes(subject.state_bytes)} of state")
    if subject.arena is not None:
        lines.append(f"{format_bytes(subject.arena)} of arena in TensorFlow Lite Micro")
    return Card("Size", format_bytes(subject.bytes), "of the file", lines)


def _make_instructions(contest: Contest, result: Result) -> Card | None:
    counts = contest.subject.instructions
    if not counts:
        return None
    processor, parts = next(iter(counts.items()))
    lines = _compare_rivals(
        contest,
        lambda v: v.instructions[processor].total if v.instructions and processor in v.instructions else None,
        ("fewer", "more", "as many"),
        lambda count: f"{format_number(count / 1e6)} million",
    )
    unit = f"instructions a decision, {processor}"
    return Card("Instructions", f"{format_number(parts.total / 1e6)} million", unit, lines)


def _compare_rivals(
    contest: Contest, get: GetFigure, words: tuple[str, str, str], write: Callable[[float], str]
) -> list[str]:
    """Compare a figure with that of the float artefact and that of the reference.

    Args:
        contest: of the models.
        get: the figure of a model; None where it was not measured.
        words: comparatives of a smaller and a larger figure, and of equal ones.
        write: the figure as text.
    """
    own, lines = get(contest.subject), []
    rivals = {rival.name: rival for rival in (contest.float_form, contest.reference) if rival}
    less, more, equal = words
    for rival in rivals.values():
        other = get(rival)
        if own and other:
            ratio = compare(own, other, less, more, f"about {equal}")
            link = "as" if ratio.startswith("about") else "than"
            name = f"{rival.name} in {name_engine(rival)}" if rival is contest.reference else rival.name
            lines.append(f"{ratio} {link} {name} ({write(other)})")
    return lines
