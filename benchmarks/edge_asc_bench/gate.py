"""The gate: is a result still as good as a baseline?"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from edge_asc_bench.comparability import (
    IncomparableError,
    are_relative,
    check_comparable,
    check_counts_comparable,
    check_times_comparable,
    find_reference_latency,
)
from edge_asc_bench.finding import Finding, Verdict
from edge_asc_bench.limits import Limits
from edge_asc_bench.result import Latency, Result, Variant, describe_form

__all__ = ["IncomparableError", "check", "list_skipped"]

# A median of rounds is uncertain where its standard error is above this share of the limit on latency.
LARGEST_ERROR = 0.25
FEWEST_ROUNDS = 5


def check(result: Result, baseline: Result, limits: Limits) -> list[Finding]:
    """Compare each variant of the baseline with the same one of the result.

    Accuracy is compared clip by clip with the exact test of McNemar (1947), two-sided, at each length; the chance of a
    false alarm is divided among all these tests. Latency is compared as multiples of the reference's in the same round
    of the same run, and left out where that is too uncertain; memory as a multiple of the reference's peak. Where the
    reference was not run on the target, both are compared as they are, on the same machine alone.

    Raises:
        IncomparableError: an incomplete result, other clips, a variant is missing, or times of another or an emulated
            machine.
    """
    check_comparable(result, baseline)
    own = {variant.name: variant for variant in result.variants}
    pairs = [(before, own[before.name]) for before in baseline.variants]
    tests = sum(len(before.accuracy.lengths) for before, _ in pairs if before.accuracy)
    if any(before.instructions for before, _ in pairs):
        check_counts_comparable(result, baseline)
    timed = limits.timings != "off" and any(before.latency for before, _ in pairs)
    if timed:
        check_times_comparable(result, baseline, limits)
    findings: list[Finding] = []
    for before, after in pairs:
        if tests:
            findings += _compare_accuracy(before, after, limits.false_alarms / tests)
        findings += _compare_agreement(before, after, limits)
        findings += _compare_size(before, after, limits)
        findings += _compare_operations(before, after)
        findings += _compare_instructions(before, after, limits)
        if timed:
            findings += _compare_times(before, after, baseline, result, limits)
            findings += _compare_memory(before, after, baseline, result, limits)
    return findings


def list_skipped(result: Result, baseline: Result, limits: Limits) -> list[str]:
    """Return the times that were not compared, and why, in words."""
    if limits.timings == "off":
        return ["times and memory, since timings is off"]
    reasons, relative = [], are_relative(baseline, result)
    for value, noun in ((baseline, "the baseline"), (result, "the result")):
        for variant in value.variants:
            for form, latency in variant.latency.items():
                error = _compute_median_and_error(latency, find_reference_latency(value, form) if relative else None)[1]
                if error > LARGEST_ERROR * limits.latency and not (relative and variant.name == value.reference):
                    name = f"{variant.name}, {describe_form(form)}"
                    reasons.append(f"{name}: the standard error of its median is {100 * error:.0f} % in {noun}")
    return reasons


def _compare_accuracy(before: Variant, after: Variant, level: float) -> Iterator[Finding]:
    from scipy.stats import binomtest

    for row in before.accuracy.lengths if before.accuracy else ():
        own = after.accuracy.at(row.seconds) if after.accuracy else None
        if own is None or len(own.right_clips) != len(row.right_clips):
            raise IncomparableError(f"{before.name}: accuracy at {row.seconds} s is missing or of other clips")
        pairs = list(zip(row.right_clips, own.right_clips, strict=True))
        lost, won = pairs.count(("1", "0")), pairs.count(("0", "1"))
        chance = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
        verdict: Verdict = "holds"
        if chance < level:
            verdict = "regression" if lost > won else "improvement"
        why = f"{lost} clips lost, {won} won: chance {chance:.2g}, limit {level:.2g}"
        yield Finding(before.name, f"accuracy at {row.seconds} s", row.accuracy, own.accuracy, verdict, why)


def _compare_agreement(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    old = before.agreed_share
    if old is not None:
        what = "agreement with the reference"
        new = _require(before, after.agreed_share, what)
        yield _judge(before, what, (old, new), old - new > limits.agreement, limits.agreement)


def _compare_size(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    worse = after.bytes > (1 + limits.size) * before.bytes
    yield _judge(before, "file size, bytes", (before.bytes, after.bytes), worse, limits.size)


def _compare_operations(before: Variant, after: Variant) -> Iterator[Finding]:
    if (before.graph and not after.graph) or before.macs.keys() - after.macs.keys():
        raise IncomparableError(f"{before.name}: its operations were not counted; install edge-asc[export]")
    for name, macs in before.macs.items():
        own = after.macs[name]
        yield _judge(before, f"multiply-accumulates of {name}", (macs, own), own > macs, 0)
    old, new = before.graph, after.graph
    if not old or not new:
        return
    for name in old.operations:
        then, now = (sum(graph.operations.get(name, {}).values()) for graph in (old, new))
        yield _judge(before, f"operations of {name}", (then, now), now > then, 0)
    for noun, then_or_none, now_or_none in (
        ("partitions", old.partitions, new.partitions),
        ("outside", old.outside, new.outside),
    ):
        if then_or_none is not None:
            value = _require(before, now_or_none, f"XNNPACK: {noun}")
            yield _judge(before, f"XNNPACK: {noun}", (then_or_none, value), value > then_or_none, 0)


def _compare_instructions(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    name, counts, own = before.name, before.instructions or {}, after.instructions or {}
    if counts and before.engine != after.engine:
        raise IncomparableError(
            f"{name}: instructions were counted with {after.engine}, the baseline's with {before.engine}; "
            "install that version, or make a new baseline"
        )
    for processor, old in counts.items():
        if processor not in own:
            raise IncomparableError(f"{name}: instructions on {processor} were not counted; count them too")
        new = own[processor]
        for part, pair in (
            ("front end", (old.front_end, new.front_end)),
            ("model", (old.model, new.model)),
            ("total", (old.total, new.total)),
        ):
            worse = pair[1] > (1 + limits.instructions) * pair[0]
            yield _judge(before, f"instructions on {processor}, {part}", pair, worse, limits.instructions)


def _compute_median_and_error(latency: Latency, base: Latency | None) -> tuple[float, float]:
    """The median over rounds, as multiples of the base's rounds, or in ms; and its standard error, a share of it."""
    rounds = np.asarray(latency.rounds_ms)
    if base is not None:
        rounds = rounds / np.asarray(base.rounds_ms)
    low, middle, high = np.percentile(rounds, (25, 50, 75))
    # Of the median of a normal distribution: √(π/2) σ / √n, and 1.349 σ lies between its quartiles.
    error = 0.929 * (high - low) / middle / np.sqrt(len(rounds)) if len(rounds) >= FEWEST_ROUNDS else np.inf
    return float(middle), float(error)


def _compare_times(
    before: Variant, after: Variant, baseline: Result, result: Result, limits: Limits
) -> Iterator[Finding]:
    reference, relative = baseline.reference, are_relative(baseline, result)
    if before.name == reference:
        return
    unit = f", share of {reference}" if relative else ", ms"
    for form, latency in before.latency.items():
        own = after.latency.get(form)
        if own is None or (latency.front_end is None) != (own.front_end is None):
            raise IncomparableError(
                f"{before.name}, {form}: no such times in the result; measure the same lengths, with scipy on the "
                "target in both or in neither"
            )
        old, was = _compute_median_and_error(latency, find_reference_latency(baseline, form) if relative else None)
        new, now = _compute_median_and_error(own, find_reference_latency(result, form) if relative else None)
        if max(was, now) <= LARGEST_ERROR * limits.latency:
            what = f"median of a decision, {describe_form(form)}{unit}"
            yield _judge(before, what, (old, new), new > (1 + limits.latency) * old, limits.latency)


def _compare_memory(
    before: Variant, after: Variant, baseline: Result, result: Result, limits: Limits
) -> Iterator[Finding]:
    reference, relative = baseline.reference, are_relative(baseline, result)
    peak = _find_peak(before)
    if before.name == reference or not peak:
        return
    what = f"peak resident set, share of {reference}" if relative else "peak resident set, bytes"
    bases = [
        _find_peak(value.variant(reference) if reference else None) if relative else 1 for value in (baseline, result)
    ]
    if all(bases):
        pair = peak / bases[0], _require(before, _find_peak(after) or None, what) / bases[1]
        yield _judge(before, what, pair, pair[1] > (1 + limits.memory) * pair[0], limits.memory)


def _find_peak(variant: Variant | None) -> int:
    return (variant.memory.peak or 0) if variant and variant.memory else 0


def _require(before: Variant, value: float | None, what: str) -> float:
    """Return a value that the baseline has, and the result must have too."""
    if value is None:
        raise IncomparableError(f"{before.name}: the baseline has {what}, the result has not; measure it too")
    return value


def _judge(before: Variant, what: str, values: tuple[float, float], worse: bool, limit: float) -> Finding:
    why = f"limit {100 * limit:g} %" if limit else "must not grow"
    return Finding(before.name, what, *values, "regression" if worse else "holds", why)
