"""The gate: is a result still as good as a baseline?"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from edge_asc.closeness import CLEAR_MARGIN
from edge_asc_bench.comparability import (
    IncomparableError,
    are_relative,
    check_comparable,
    check_counts_comparable,
    check_times_comparable,
    find_compiler,
    find_reference_latency,
)
from edge_asc_bench.finding import Comparison, Finding, Skip, Verdict
from edge_asc_bench.limits import Limits
from edge_asc_bench.result import Latency, Result, Variant
from edge_asc_bench.streamscore import StreamScore
from edge_asc_bench.wording import describe_form

__all__ = ["IncomparableError", "check"]

# A median of rounds is uncertain where its standard error is above this share of the limit on latency.
LARGEST_ERROR = 0.25
FEWEST_ROUNDS = 5
ROUNDING = 1e-9

AGREEMENT = "agreement with the reference"
CLOSENESS = "its closeness to the reference"
CLEAR = f"agreement where the reference's margin exceeds {CLEAR_MARGIN:g}"
KL = "divergence from the reference, nats"
# Growth of a divergence that says nothing, nats: that of a float artefact is a billionth.
SMALLEST_KL = 5e-4
ARENA = "arena of TensorFlow Lite Micro"


def check(result: Result, baseline: Result, limits: Limits, *, allow_missing: bool = False) -> Comparison:
    """Compare each variant of the baseline with the same one of the result.

    Accuracy is compared clip by clip with the exact test of McNemar (1947), two-sided, at each length; the chance of a
    false alarm is divided among all these tests. Latency is compared as multiples of the reference's in the same round
    of the same run, and left out where that is too uncertain; memory as a multiple of the reference's peak. Where the
    reference was not run on the target, both are compared as they are, on the same machine alone.

    Args:
        result: of the measurement to check.
        baseline: to compare it with.
        limits: of a regression.
        allow_missing: models that the baseline has and the result lacks are reported, and not an error.

    Raises:
        IncomparableError: an incomplete result, other clips, a variant is missing, times of another or an emulated
            machine, or nothing to compare.

    Examples:
        >>> from pathlib import Path
        >>> from edge_asc_bench import Limits, check, read
        >>> result = read(Path("bench.json"))
        >>> comparison = check(result, result, Limits(timings="anywhere"))
        >>> print(len(comparison.regressions), "regressions")
        0 regressions
    """
    check_comparable(result, baseline, allow_missing=allow_missing)
    own = {variant.name: variant for variant in result.variants}
    pairs = [(before, own[before.name]) for before in baseline.variants if before.name in own]
    tests = sum(len(before.accuracy.lengths) for before, _ in pairs if before.accuracy)
    if any(before.instructions for before, _ in pairs):
        check_counts_comparable(result, baseline)
    timed = limits.timings != "off" and any(before.latency for before, _ in pairs)
    if timed:
        check_times_comparable(result, baseline, limits)
    compared: list[Finding | Skip] = []
    for before, after in pairs:
        if tests:
            compared += _compare_accuracy(before, after, limits.false_alarms / tests)
        compared += _compare_agreement(before, after, limits)
        compared += _compare_closeness(before, after, limits)
        compared += _compare_streams(before, after, limits)
        compared += _compare_size(before, after, limits)
        compared += _compare_operations(before, after)
        compared += _compare_arena(before, after, limits)
        compared += _compare_instructions(before, after, limits)
        if timed:
            compared += _compare_times(before, after, baseline, result, limits)
            compared += _compare_memory(before, after, baseline, result, limits)
        compared += _list_new(before, after, baseline.reference)
    if limits.timings == "off":
        compared.append(Skip("", "times and memory", "timings is off"))
    compared += _list_lonely(result, baseline)
    findings = tuple(each for each in compared if isinstance(each, Finding))
    if not findings:
        raise IncomparableError("nothing was compared: the baseline has no model that the result has, too")
    return Comparison(findings, tuple(each for each in compared if isinstance(each, Skip)))


def _list_lonely(result: Result, baseline: Result) -> Iterator[Skip]:
    """Yield the models that one side alone has."""
    sides = ((baseline, result, "the result lacks it"), (result, baseline, "the baseline lacks it; make a new one"))
    for side, other, why in sides:
        for variant in side.variants:
            if other.variant(variant.name) is None:
                yield Skip(variant.name, "the whole model", why)


def _list_new(before: Variant, after: Variant, reference: str | None) -> Iterator[Skip]:
    """Yield the quantities of a model that the result alone has."""
    why = "the baseline lacks it; make a new one"
    known = {row.seconds for row in before.accuracy.lengths} if before.accuracy else set()
    for row in after.accuracy.lengths if after.accuracy else ():
        if row.seconds not in known:
            yield Skip(before.name, f"accuracy at {row.seconds} s", why)
    for form in after.latency.keys() - before.latency.keys():
        yield Skip(before.name, f"median of a decision, {describe_form(form)}", why)
    for name in sorted(after.macs.keys() - before.macs.keys()):
        yield Skip(before.name, f"multiply-accumulates of {name}", why)
    for processor in sorted((after.instructions or {}).keys() - (before.instructions or {}).keys()):
        yield Skip(before.name, f"instructions on {processor}", why)
    pairs = {
        "events on a stream": (before.stream or None, after.stream or None),
        AGREEMENT: (before.agreed_share, after.agreed_share),
        CLOSENESS: (before.closeness, after.closeness),
        ARENA: (before.arena, after.arena),
        "operations": (before.graph, after.graph),
        "memory": (before.memory, after.memory),
    }
    for what, (old, new) in pairs.items():
        if old is None and new is not None:
            yield Skip(before.name, what, why)
    if before.name != reference and before.accuracy is None and before.agreed_share is None and not before.instructions:
        yield Skip(before.name, "its decisions", "the baseline has neither accuracy nor agreement")


def _compare_accuracy(before: Variant, after: Variant, level: float) -> Iterator[Finding | Skip]:
    from scipy.stats import binomtest

    for row in before.accuracy.lengths if before.accuracy else ():
        own = after.accuracy.at(row.seconds) if after.accuracy else None
        if own is None or len(own.right_clips) != len(row.right_clips):
            raise IncomparableError(f"{before.name}: accuracy at {row.seconds} s is missing or of other clips")
        what = f"accuracy at {row.seconds} s"
        # Where even the loss of every clip would pass for chance, the test finds nothing, and holding means nothing.
        right = row.right_clips.count("1")
        if not right or binomtest(right, right).pvalue >= level:
            why = f"{right} right clips of {len(row.right_clips)} are too few for the test; measure on more clips"
            yield Skip(before.name, what, why)
            continue
        pairs = list(zip(row.right_clips, own.right_clips, strict=True))
        lost, won = pairs.count(("1", "0")), pairs.count(("0", "1"))
        chance = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
        verdict: Verdict = "holds"
        if chance < level:
            verdict = "regression" if lost > won else "improvement"
        why = f"{lost} clips lost, {won} won: chance {chance:.2g}, limit {level:.2g}"
        yield Finding(before.name, what, row.accuracy, own.accuracy, verdict, why)


def _compare_agreement(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    old = before.agreed_share
    if old is not None:
        new = _require(before, after.agreed_share, AGREEMENT)
        yield _judge(before, AGREEMENT, (old, new), old - new <= limits.agreement, limits.agreement)


def _compare_closeness(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    """Compare decisions that rounding should not change, and probabilities, with those of the baseline."""
    old, new = before.closeness, after.closeness
    if old is None:
        return
    if new is None:
        raise IncomparableError(f"{before.name}: the baseline has {CLOSENESS}, the result has not; measure it too")
    if old.clear_agreement is not None:
        share = _require(before, new.clear_agreement, CLEAR)
        holds = old.clear_agreement - share <= limits.clear_agreement
        yield _judge(before, CLEAR, (old.clear_agreement, share), holds, limits.clear_agreement)
    holds = new.kl <= max((1 + limits.kl) * old.kl, old.kl + SMALLEST_KL)
    yield _judge(before, KL, (old.kl, new.kl), holds, limits.kl)


def _compare_streams(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    """Compare events on an endless stream with the baseline's, and false alarms with those of the float artefact."""
    old, new = before.stream, after.stream
    if isinstance(new, StreamScore) and new.twin_false_alarms is not None:
        most = (1 + limits.events) * new.twin_false_alarms
        matched = math.inf if new.matched_false_alarms is None else float(new.matched_false_alarms)
        what = f"false alarms at the detections of {new.float_twin}"
        yield _judge(before, what, (new.twin_false_alarms, matched), matched <= most, limits.events)
    if not isinstance(old, StreamScore):
        return
    if not isinstance(new, StreamScore):
        raise IncomparableError(f"{before.name}: the baseline has events on a stream, the result has not; add --stream")
    holds = new.false_alarms <= (1 + limits.events) * old.false_alarms
    per_day = old.false_alarms_per_day, new.false_alarms_per_day
    yield _judge(before, "false alarms a day", per_day, holds, limits.events)
    was, now = (score.detected / max(1, score.sounds) for score in (old, new))
    holds = was - now <= limits.events + ROUNDING
    yield _judge(before, "share of sounds detected", (was, now), holds, limits.events)


def _compare_size(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    holds = after.bytes <= (1 + limits.size) * before.bytes
    yield _judge(before, "file size, bytes", (before.bytes, after.bytes), holds, limits.size)


def _compare_operations(before: Variant, after: Variant) -> Iterator[Finding]:
    if (before.graph and not after.graph) or before.macs.keys() - after.macs.keys():
        raise IncomparableError(f"{before.name}: its operations were not counted; install edge-asc[export]")
    for name, macs in before.macs.items():
        own = after.macs[name]
        yield _judge(before, f"multiply-accumulates of {name}", (macs, own), own <= macs, 0)
    old, new = before.graph, after.graph
    if not old or not new:
        return
    for name in old.operations:
        then, now = (sum(graph.operations.get(name, {}).values()) for graph in (old, new))
        yield _judge(before, f"operations of {name}", (then, now), now <= then, 0)
    for noun, then_or_none, now_or_none in (
        ("partitions", old.partitions, new.partitions),
        ("outside", old.outside, new.outside),
    ):
        if then_or_none is not None:
            value = _require(before, now_or_none, f"XNNPACK: {noun}")
            yield _judge(before, f"XNNPACK: {noun}", (then_or_none, value), value <= then_or_none, 0)


def _compare_arena(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding]:
    if before.arena is None:
        return
    if after.arena is None:
        raise IncomparableError(
            f"{before.name}: the baseline has the {ARENA}, the result has not; install edge-asc[tflm] and measure it "
            "too, or make a new baseline"
        )
    holds = after.arena <= (1 + limits.size) * before.arena
    yield _judge(before, f"{ARENA}, bytes", (before.arena, after.arena), holds, limits.size)


def _compare_instructions(before: Variant, after: Variant, limits: Limits) -> Iterator[Finding | Skip]:
    name, counts, own = before.name, before.instructions or {}, after.instructions or {}
    compilers = find_compiler(before.engine), find_compiler(after.engine)
    if counts and None not in compilers and compilers[0] != compilers[1]:
        why = (
            f"compiled by {after.engine}, in the baseline by {before.engine}; install that one, or make a new baseline"
        )
        yield Skip(name, "instructions", why)
        return
    if counts and before.engine != after.engine and None in compilers:
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
            holds = pair[1] <= (1 + limits.instructions) * pair[0]
            yield _judge(before, f"instructions on {processor}, {part}", pair, holds, limits.instructions)


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
) -> Iterator[Finding | Skip]:
    reference, relative = baseline.reference, are_relative(baseline, result)
    if before.name == reference:
        if before.latency or after.latency:
            both = "it is the unit of all others" if relative else "one side alone has them"
            yield Skip(before.name, "times and memory", both)
        return
    unit = f", share of {reference}" if relative else ", ms"
    for form, latency in before.latency.items():
        own = after.latency.get(form)
        if own is None or (latency.front_end is None) != (own.front_end is None):
            raise IncomparableError(
                f"{before.name}, {form}: no such times in the result; measure the same lengths, of a model that takes "
                "the same input"
            )
        old, was = _compute_median_and_error(latency, find_reference_latency(baseline, form) if relative else None)
        new, now = _compute_median_and_error(own, find_reference_latency(result, form) if relative else None)
        what = f"median of a decision, {describe_form(form)}{unit}"
        if max(was, now) <= LARGEST_ERROR * limits.latency:
            yield _judge(before, what, (old, new), new <= (1 + limits.latency) * old, limits.latency)
        for error, side in ((was, "the baseline"), (now, "the result")):
            if not error <= LARGEST_ERROR * limits.latency:
                why = f"the standard error of its median is {100 * error:.0f} % in {side}"
                yield Skip(before.name, what, why if np.isfinite(error) else f"{side} has too few rounds")


def _compare_memory(
    before: Variant, after: Variant, baseline: Result, result: Result, limits: Limits
) -> Iterator[Finding | Skip]:
    reference, relative = baseline.reference, are_relative(baseline, result)
    peak = _find_peak(before)
    if before.name == reference:
        return
    if not peak:
        if before.memory is not None:
            yield Skip(before.name, "peak resident set", "the baseline's system does not report it")
        return
    what = f"peak resident set, share of {reference}" if relative else "peak resident set, bytes"
    bases = [
        _find_peak(value.variant(reference) if reference else None) if relative else 1 for value in (baseline, result)
    ]
    if all(bases):
        pair = peak / bases[0], _require(before, _find_peak(after) or None, what) / bases[1]
        yield _judge(before, what, pair, pair[1] <= (1 + limits.memory) * pair[0], limits.memory)
    else:
        yield Skip(before.name, what, f"the peak of {reference} is not known on both sides")


def _find_peak(variant: Variant | None) -> int:
    return (variant.memory.peak or 0) if variant and variant.memory else 0


def _require(before: Variant, value: float | None, what: str) -> float:
    """Return a value that the baseline has, and the result must have too."""
    if value is None:
        raise IncomparableError(f"{before.name}: the baseline has {what}, the result has not; measure it too")
    return value


def _judge(before: Variant, what: str, values: tuple[float, float], holds: bool, limit: float) -> Finding:
    """Return a finding; a comparison with what is not a number does not hold."""
    why = f"limit {100 * limit:g} %" if limit else "must not grow"
    return Finding(before.name, what, *values, "holds" if holds else "regression", why)
