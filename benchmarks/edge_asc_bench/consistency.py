"""Whether the figures of a result agree with each other: what the types of its fields cannot say.

Types and ranges of single fields are checked when a document is converted (`edge_asc_bench.document.convert`). A result
that contradicts itself is damaged, or was changed by hand: the gate must not believe any part of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from edge_asc_bench.latency import Distribution

if TYPE_CHECKING:
    from edge_asc.closeness import Closeness
    from edge_asc_bench.result import Accuracy, Latency, LengthAccuracy, Result, StepAccuracy, Sustained, Variant

# Times are rounded to five digits, shares are not; an application may round more.
ROUNDING, TIME_ROUNDING = 1e-6, 1e-3
# Instructions are medians over decisions, and medians do not add up: 0.2 % was seen.
COUNT_SLACK = 0.01
# The audio of a step may be given as 0.25 or 0.256 s.
FACTOR_ROUNDING = 0.05


def check_result(result: Result) -> None:
    """Check a result.

    Raises:
        ValueError: two of its figures contradict each other; the message names the place, what is there, and what
            was expected.
    """
    if result.complete != (result.incomplete is None):
        raise ValueError("complete: contradicts incomplete, which has the reason of an incomplete result alone")
    names = [variant.name for variant in result.variants]
    if result.complete and any(isinstance(variant.failed, str) for variant in result.variants):
        raise ValueError("complete: got true, expected false where a model failed")
    _check_unique("variants", names)
    for i, variant in enumerate(result.variants):
        place = f"variants[{i}] ({variant.name})"
        _check_variant(place, variant)
        if variant.accuracy is not None:
            _check_same(f"{place}.accuracy.clips", variant.accuracy.clips, result.data.clips)
    if result.whole_clip is not None:
        check_accuracy("whole_clip", result.whole_clip)
    _check_rounds(result)
    _check_ordered("conditions: at", [sample.at for sample in result.conditions])
    for i, sample in enumerate(result.conditions):
        _check_finite(f"conditions[{i}]", sample.at, sample.load, sample.temperature_c, *(sample.frequency_mhz or ()))


def _check_variant(place: str, variant: Variant) -> None:
    if isinstance(variant.failed, str) and (variant.latency or variant.accuracy or variant.agreement):
        raise ValueError(f"{place}.failed: got {variant.failed[:40]!r}, expected no measurements beside it")
    for form, latency in variant.latency.items():
        if (form == "step") != (variant.form == "causal") or not (form == "step" or _is_seconds(form)):
            raise ValueError(f"{place}.latency: got {form!r}, expected the forms of a {variant.form} model")
        _check_latency(f"{place}.latency.{form}", latency)
    if variant.accuracy is not None:
        check_accuracy(f"{place}.accuracy", variant.accuracy)
    if variant.agreement is not None:
        agreement = variant.agreement
        _check_ordered(f"{place}.agreement: mean_error, max_error", [agreement.mean_error, agreement.max_error])
        _check_finite(f"{place}.agreement", agreement.max_error)
        if agreement.closeness:
            check_closeness(f"{place}.agreement.closeness", agreement.closeness, agreement.steps)
    if (stream := variant.stream) and stream.detected > stream.sounds:
        raise ValueError(
            f"{place}.stream.detected: got {stream.detected}, expected at most {stream.sounds}, the sounds"
        )
    for processor, counts in (variant.instructions or {}).items():
        parts = counts.front_end + counts.model
        if not math.isclose(counts.total, parts, rel_tol=COUNT_SLACK):
            raise ValueError(
                f"{place}.instructions.{processor}.total: got {counts.total}, expected {parts}, front end and model"
            )
    for name in ("streaming", "export", "quantisation"):
        for points in (getattr(variant.loss, name, None) or {}).values():
            if not -100 <= points <= 100:
                raise ValueError(f"{place}.loss.{name}: got {points}, expected points from -100 to 100")


def _check_latency(place: str, latency: Latency) -> None:
    parts = {"front_end": latency.front_end, "model": latency.model, "engine": latency.engine, "total": latency.total}
    for name, distribution in parts.items():
        if isinstance(distribution, Distribution):
            _check_distribution(f"{place}.{name}", distribution)
            _check_same(f"{place}.{name}.count", distribution.count, latency.total.count)
    total = latency.total
    if not total.minimum > 0:
        raise ValueError(f"{place}.total.minimum: got {total.minimum}, expected a time above 0 ms")
    for median in latency.rounds_ms:
        _check_between(f"{place}.rounds_ms", median, total.minimum, total.maximum)
    _check_finite(place, latency.period_s, latency.real_time_factor, latency.load_ms, latency.cold_start_ms)
    factor = total.mean / 1000 / latency.period_s
    if not math.isclose(latency.real_time_factor, factor, rel_tol=FACTOR_ROUNDING):
        raise ValueError(
            f"{place}.real_time_factor: got {latency.real_time_factor}, expected {factor:.4g}, the mean over the period"
        )
    if latency.sustained is not None:
        _check_sustained(f"{place}.sustained", latency.sustained)


def _check_distribution(place: str, times: Distribution) -> None:
    if times.count < 1:
        raise ValueError(f"{place}.count: got {times.count}, expected at least 1")
    if not times.minimum >= 0:
        raise ValueError(f"{place}.minimum: got {times.minimum}, expected at least 0 ms")
    _check_finite(place, times.maximum)
    ordered = [times.minimum, times.p50, times.p90, times.p99, times.maximum]
    _check_ordered(f"{place}: minimum, p50, p90, p99, maximum", ordered)
    _check_between(f"{place}.mean", times.mean, times.minimum, times.maximum)
    _check_between(f"{place}.deviation", times.deviation, 0, times.maximum)
    known = {"0": times.minimum, "50": times.p50, "90": times.p90, "99": times.p99, "100": times.maximum}
    if not all(_is_seconds(name) and int(name) <= 100 for name in times.percentiles):
        raise ValueError(f"{place}.percentiles: got {', '.join(times.percentiles)[:80]!r}, expected numbers to 100")
    values = [times.percentiles[name] for name in sorted(times.percentiles, key=int)]
    _check_ordered(f"{place}.percentiles", [times.minimum, *values, times.maximum])
    for name, value in times.percentiles.items():
        expected = known.get(name, value)
        if not math.isclose(value, expected, rel_tol=TIME_ROUNDING):
            raise ValueError(f"{place}.percentiles.{name}: got {value}, expected {expected}")


def _check_sustained(place: str, run: Sustained) -> None:
    _check_finite(place, run.seconds, run.audio_seconds, run.first_ms, run.last_ms, *run.medians_ms)
    if not math.isclose(run.ratio, run.last_ms / run.first_ms, rel_tol=TIME_ROUNDING):
        raise ValueError(f"{place}.ratio: got {run.ratio}, expected {run.last_ms / run.first_ms:.4g}, last over first")


def check_accuracy(place: str, accuracy: Accuracy) -> None:
    """Check the accuracy of one model; `place` names it in messages.

    Raises:
        ValueError: two of its figures contradict each other.
    """
    _check_unique(f"{place}.labels", accuracy.labels)
    seconds = [row.seconds for row in accuracy.lengths]
    _check_unique(f"{place}.lengths", [f"{length:g}" for length in seconds])
    _check_ordered(f"{place}.lengths: seconds", seconds)
    for row in accuracy.lengths:
        _check_length(f"{place}.lengths ({row.seconds:g} s)", row, accuracy)
    _check_tally(f"{place}.all_steps", accuracy.all_steps, accuracy.labels)
    if accuracy.logit_error is not None:
        error = accuracy.logit_error
        _check_finite(f"{place}.logit_error", error.max)
        _check_ordered(f"{place}.logit_error: mean, max", [error.mean, error.max])
    if accuracy.closeness:
        check_closeness(f"{place}.closeness", accuracy.closeness, accuracy.all_steps.count)


def check_closeness(place: str, closeness: Closeness, steps: int) -> None:
    """Check how close a model is to its reference over `steps` steps; `place` names it in messages.

    Raises:
        ValueError: a count or a divergence is out of its range, or the counts contradict each other.
    """
    _check_finite(f"{place}.kl", closeness.kl)
    if closeness.kl < 0:
        raise ValueError(f"{place}.kl: got {closeness.kl:g}, expected at least 0")
    _check_ordered(f"{place}.margins: least", [each.least for each in closeness.margins])
    for each in closeness.margins:
        _check_finite(f"{place}.margins: least", each.least)
        if not 0 <= each.agreed <= each.steps:
            raise ValueError(f"{place}.margins ({each.least:g}): got {each.agreed} equal decisions of {each.steps}")
    _check_same(f"{place}.margins: sum of steps", closeness.steps, steps)
    _check_same(f"{place}.margins: sum of agreed", sum(each.agreed for each in closeness.margins), closeness.agreed)
    if not 0 <= closeness.last_agreed <= steps:
        raise ValueError(f"{place}.last_agreed: got {closeness.last_agreed}, expected at most {steps}")


def _check_length(place: str, row: LengthAccuracy, accuracy: Accuracy) -> None:
    _check_tally(place, row, accuracy.labels)
    _check_same(f"{place}.right_clips: number of clips", len(row.right_clips), row.count)
    _check_same(f"{place}.right_clips: number of right ones", row.right_clips.count("1"), row.right)
    if row.count > accuracy.clips:
        raise ValueError(f"{place}.count: got {row.count}, expected at most the {accuracy.clips} clips")
    _check_between(f"{place}.accuracy", row.accuracy, row.low, row.high)


def _check_tally(place: str, row: StepAccuracy, labels: Sequence[str]) -> None:
    expected = row.right / row.count
    if not math.isclose(row.accuracy, expected, abs_tol=ROUNDING):
        raise ValueError(
            f"{place}.accuracy: got {row.accuracy:.6g}, expected {expected:.6g}: {row.right} of {row.count} are right"
        )
    chosen = {"last": row.right_last, "mean": row.right_mean}
    _check_same(f"{place}.right", row.right, chosen.get(row.decision, row.right))
    _check_same(f"{place}.count_by_class: sum", sum(row.count_by_class.values()), row.count)
    for rule, counts in row.right_by_class.items():
        _check_same(f"{place}.right_by_class.{rule}: sum", sum(counts.values()), chosen.get(rule, row.right))
        for label, count in counts.items():
            if count > row.count_by_class.get(label, 0):
                raise ValueError(f"{place}.right_by_class.{rule}.{label}: got {count}, which is more than there are")
    if unknown := sorted(set(row.recall) ^ set(labels)):
        raise ValueError(f"{place}.recall: got or lacks {', '.join(unknown)[:80]!r}, expected the labels of the model")
    right = row.right_by_class.get(row.decision, {})
    for label, share in row.recall.items():
        count = row.count_by_class.get(label, 0)
        if share is not None and label in right and not math.isclose(share * count, right[label], abs_tol=1e-3):
            raise ValueError(f"{place}.recall.{label}: got {share:.6g}, expected {right[label]} of {count}")


def _check_rounds(result: Result) -> None:
    """Check that all models took part in the same rounds, so that they can be compared round by round."""
    counts = Counter(len(latency.rounds_ms) for variant in result.variants for latency in variant.latency.values())
    if result.complete and len(counts) > 1:
        raise ValueError(f"variants: have {', '.join(map(str, sorted(counts)))} rounds, expected as many for each")


def _is_seconds(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 6


def _check_unique(place: str, names: Sequence[str]) -> None:
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise ValueError(f"{place}: {twice[0]!r} is there twice")


def _check_same(place: str, value: int, expected: int) -> None:
    if value != expected:
        raise ValueError(f"{place}: got {value}, expected {expected}")


def _check_between(place: str, value: float, low: float, high: float) -> None:
    room = ROUNDING + TIME_ROUNDING * abs(high)
    if not low - room <= value <= high + room:
        raise ValueError(f"{place}: got {value:g}, expected {low:g} to {high:g}")


def _check_ordered(place: str, values: Sequence[float]) -> None:
    for before, after in pairwise(values):
        if not before <= after + TIME_ROUNDING * abs(after):
            raise ValueError(f"{place}: got {before:g} before {after:g}, expected increasing values")


def _check_finite(place: str, *values: float | None) -> None:
    for value in values:
        if value is not None and not math.isfinite(value):
            raise ValueError(f"{place}: got {value}, expected a finite number")
