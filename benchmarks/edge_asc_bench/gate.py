"""The gate: is a result still as good as a baseline?"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal, Self, get_args
from xml.etree import ElementTree

import numpy as np

from edge_asc.errors import EdgeAscError
from edge_asc_bench.result import agreement, form_title

Verdict = Literal["holds", "regression", "improvement"]
Timings = Literal["same-machine", "anywhere", "off"]

# What makes two machines the same one, for times.
MACHINE = ("architecture", "cpu", "board", "cores", "features")
# A median of rounds says nothing where its standard error is above this share of the limit on latency.
LARGEST_ERROR = 0.25
FEWEST_ROUNDS = 5


class IncomparableError(EdgeAscError):
    """A result and a baseline that say nothing about each other."""


@dataclass(frozen=True)
class Limits:
    """What is a regression; `[gate]` of a TOML file.

    Attributes:
        false_alarms: chance that accuracy is called changed in a whole check though nothing changed.
        agreement: drop of the share of decisions that equal the reference's.
        size: growth of a file.
        latency: growth of the median of a decision, as a multiple of the reference's in the same run.
        memory: growth of the peak resident set, as a multiple of the reference's in the same run.
        instructions: growth of the instructions of a decision, with the same version of the runtime.
        timings: where latency and memory may have been measured: "same-machine", "anywhere" (of one architecture), or
            "off", which compares neither.
    """

    false_alarms: float = 0.01
    agreement: float = 0.01
    size: float = 0.02
    latency: float = 0.30
    memory: float = 0.20
    instructions: float = 0.02
    timings: Timings = "same-machine"

    @classmethod
    def read(cls, path: Path) -> Self:
        """The limits of a TOML file; what it does not name keeps its default.

        Raises:
            EdgeAscError: not TOML, or a limit is unknown or no share above 0.
        """
        try:
            given = tomllib.loads(path.read_text()).get("gate", {})
        except (OSError, ValueError) as error:
            raise EdgeAscError(f"{path}: cannot be read ({error}); expected TOML with a table [gate]") from error
        if not isinstance(given, dict):
            raise EdgeAscError(f"{path}: gate is {given!r}; expected a table [gate]")
        known = [f.name for f in fields(cls)]
        for name, value in given.items():
            if name not in known:
                raise EdgeAscError(f"{path}: unknown limit {name}; expected some of {', '.join(known)}")
            if name == "timings":
                if value not in get_args(Timings):
                    raise EdgeAscError(f"{path}: timings is {value!r}; expected {', '.join(get_args(Timings))}")
                continue
            if not isinstance(value, int | float) or isinstance(value, bool) or not value > 0:
                raise EdgeAscError(f"{path}: {name} is {value!r}; expected a share above 0")
        if given.get("false_alarms", 0.5) >= 1:
            raise EdgeAscError(f"{path}: false_alarms is {given['false_alarms']}; expected less than 1")
        return cls(**given)


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        variant: the model.
        what: was compared.
        before, after: of baseline and result.
        verdict: "holds", "regression", or "improvement", which wants an explanation too.
        why: the limit, and how far from it.
    """

    variant: str
    what: str
    before: float
    after: float
    verdict: Verdict
    why: str

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return asdict(self)


def check(result: Mapping[str, Any], baseline: Mapping[str, Any], limits: Limits) -> list[Finding]:
    """Compare each variant of the baseline with the same one of the result.

    Accuracy is compared clip by clip with the exact test of McNemar (1947), two-sided, at each length; the chance of a
    false alarm is shared out over all these tests. Latency is compared as multiples of the reference's in the same
    round of the same run, and left out where that is too uncertain; memory as a multiple of the reference's peak. Where
    the reference was not run on the target, both are compared as they are, on the same machine alone.

    Raises:
        IncomparableError: an incomplete result, other clips, a variant is missing, or times of another or an emulated
            machine.
    """
    _comparable(result, baseline)
    mine = {variant["name"]: variant for variant in result["variants"]}
    pairs = [(before, mine[before["name"]]) for before in baseline["variants"]]
    tests = sum(len(before["accuracy"]["lengths"]) for before, _ in pairs if before["accuracy"])
    if any(before["instructions"] for before, _ in pairs):
        _comparable_counts(result, baseline)
    timed = limits.timings != "off" and any(before["latency"] for before, _ in pairs)
    if timed:
        _comparable_times(result, baseline, limits)
    findings: list[Finding] = []
    for before, after in pairs:
        if before["accuracy"]:
            findings += _accuracy(before, after, limits.false_alarms / tests)
        findings += _agreement(before, after, limits)
        findings += _cost(before, after, limits)
        findings += _instructions(before, after, limits)
        if timed:
            findings += _times(before, after, baseline, result, limits)
    return findings


def skipped(result: Mapping[str, Any], baseline: Mapping[str, Any], limits: Limits) -> list[str]:
    """What times were not compared, and why, in words."""
    if limits.timings == "off":
        return ["times and memory, since timings is off"]
    found, relative = [], _are_relative(baseline, result)
    for value, what in ((baseline, "the baseline"), (result, "the result")):
        for variant in value["variants"]:
            for form in variant["latency"]:
                error = _relative(variant, form, _base(value, form) if relative else None)[1]
                if error > LARGEST_ERROR * limits.latency and not (relative and variant["name"] == value["reference"]):
                    name = f"{variant['name']}, {form_title(form)}"
                    found.append(f"{name}: the standard error of its median is {100 * error:.0f} % in {what}")
    return found


def regressions(findings: list[Finding]) -> list[Finding]:
    """What is worse than the baseline."""
    return [finding for finding in findings if finding.verdict == "regression"]


def junit(findings: list[Finding]) -> str:
    """The findings as a JUnit XML document."""
    failed = regressions(findings)
    suite = ElementTree.Element("testsuite", name="edge-asc check", tests=str(len(findings)), failures=str(len(failed)))
    for finding in findings:
        case = ElementTree.SubElement(suite, "testcase", classname=finding.variant, name=finding.what)
        if finding.verdict == "regression":
            text = f"{finding.before:.6g} → {finding.after:.6g}: {finding.why}"
            ElementTree.SubElement(case, "failure", message=text)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def junit_error(message: str) -> str:
    """A check that could not compare, as a JUnit XML document."""
    suite = ElementTree.Element("testsuite", name="edge-asc check", tests="1", errors="1")
    ElementTree.SubElement(ElementTree.SubElement(suite, "testcase", name="comparison"), "error", message=message)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def markdown(findings: list[Finding]) -> str:
    """The findings as a Markdown table: what changed, or that all holds."""
    changed = [finding for finding in findings if finding.verdict != "holds"]
    if not changed:
        return f"### edge-asc check\n\nAll {len(findings)} comparisons hold.\n"
    rows = [f"| {f.variant} | {f.what} | {f.before:.5g} | {f.after:.5g} | {f.verdict}: {f.why} |" for f in changed]
    head = ["### edge-asc check", "", "| model | what | baseline | now | |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"{len(findings) - len(changed)} other comparisons hold.", ""])


def benchmark_action(result: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A result as github-action-benchmark reads it with the tool customSmallerIsBetter."""
    entries = []
    for variant in result["variants"]:
        entries.append({"name": f"{variant['name']}: size", "unit": "bytes", "value": variant["bytes"]})
        # Times under emulation are no device's.
        for form, latency in ({} if result["machine"]["emulated"] else variant["latency"]).items():
            name = f"{variant['name']}: {form if form == 'step' else f'{form} s window'}, p50"
            spread = f"± {latency['total']['deviation']:.3g}"
            entries.append({"name": name, "unit": "ms", "value": latency["total"]["p50"], "range": spread})
    return entries


def _comparable(result: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    for value, what in ((result, "the result"), (baseline, "the baseline")):
        if not value["complete"]:
            raise IncomparableError(f"{what} is incomplete; measure again")
    for name in ("sha256", "clips"):
        if result["data"][name] != baseline["data"][name]:
            found, expected = result["data"], baseline["data"]
            raise IncomparableError(
                f"the result is about {found['clips']} clips of {found['name']}, the baseline about "
                f"{expected['clips']} of {expected['name']}, or they are other clips; measure on the same ones"
            )
    if result["reference"] != baseline["reference"]:
        raise IncomparableError(
            f"the result's reference is {result['reference']}, the baseline's {baseline['reference']}; "
            "give the models in the same order"
        )
    if sorted(result["data"].get("labels", [])) != sorted(baseline["data"].get("labels", [])):
        raise IncomparableError("the result's data have other labels than the baseline's; measure on the same ones")
    threads = [value["settings"]["threads"] for value in (result, baseline)]
    if threads[0] != threads[1]:
        raise IncomparableError(f"measured with {threads[0]} threads, the baseline with {threads[1]}; use as many")
    names = {variant["name"] for variant in result["variants"]}
    if missing := [variant["name"] for variant in baseline["variants"] if variant["name"] not in names]:
        raise IncomparableError(f"the result lacks {', '.join(missing)}, which the baseline has; measure them too")


def _named(value: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found: Mapping[str, Any] = next(variant for variant in value["variants"] if variant["name"] == name)
    return found


def _accuracy(before: Mapping[str, Any], after: Mapping[str, Any], level: float) -> Iterator[Finding]:
    from scipy.stats import binomtest

    measured = {row["seconds"]: row for row in (after["accuracy"] or {"lengths": []})["lengths"]}
    for row in before["accuracy"]["lengths"]:
        mine = measured.get(row["seconds"])
        if mine is None or len(mine["right_clips"]) != len(row["right_clips"]):
            raise IncomparableError(f"{before['name']}: accuracy at {row['seconds']} s is missing or of other clips")
        pairs = list(zip(row["right_clips"], mine["right_clips"], strict=True))
        lost, won = pairs.count(("1", "0")), pairs.count(("0", "1"))
        chance = float(binomtest(lost, lost + won).pvalue) if lost + won else 1.0
        verdict: Verdict = "holds"
        if chance < level:
            verdict = "regression" if lost > won else "improvement"
        why = f"{lost} clips lost, {won} won: chance {chance:.2g}, limit {level:.2g}"
        yield Finding(
            before["name"], f"accuracy at {row['seconds']} s", row["accuracy"], mine["accuracy"], verdict, why
        )


def _agreement(before: Mapping[str, Any], after: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    old, new = agreement(before), agreement(after)
    if old is not None:
        new = _still(before, new, "agreement with the reference")
        yield _judged(before, "agreement with the reference", old, new, old - new > limits.agreement, limits.agreement)


def _cost(before: Mapping[str, Any], after: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    worse = after["bytes"] > (1 + limits.size) * before["bytes"]
    yield _judged(before, "file size, bytes", before["bytes"], after["bytes"], worse, limits.size)
    if (before["graph"] and not after["graph"]) or before["macs"].keys() - after["macs"].keys():
        raise IncomparableError(f"{before['name']}: its operations were not counted; install edge-asc[export]")
    for name, macs in before["macs"].items():
        mine = after["macs"][name]
        yield _judged(before, f"multiply-accumulates of {name}", macs, mine, mine > macs, 0)
    old, new = before["graph"], after["graph"]
    if old and new:
        for name in old["operations"]:
            then, now = (sum(graph["operations"].get(name, {}).values()) for graph in (old, new))
            yield _judged(before, f"operations of {name}", then, now, now > then, 0)
        for what in ("partitions", "outside"):
            if old[what] is not None:
                now = _still(before, new[what], f"XNNPACK: {what}")
                yield _judged(before, f"XNNPACK: {what}", old[what], now, now > old[what], 0)


def _instructions(before: Mapping[str, Any], after: Mapping[str, Any], limits: Limits) -> Iterator[Finding]:
    name, counts, mine = before["name"], before["instructions"] or {}, after["instructions"] or {}
    if counts and before["engine"] != after["engine"]:
        raise IncomparableError(
            f"{name}: instructions were counted with {after['engine']}, the baseline's with {before['engine']}; "
            "install that version, or make a new baseline"
        )
    for processor, parts in counts.items():
        if processor not in mine:
            raise IncomparableError(f"{name}: instructions on {processor} were not counted; count them too")
        for part in ("front_end", "model", "total"):
            old, new = parts[part], mine[processor][part]
            what = f"instructions on {processor}, {part.replace('_', ' ')}"
            yield _judged(before, what, old, new, new > (1 + limits.instructions) * old, limits.instructions)


def _comparable_counts(result: Mapping[str, Any], baseline: Mapping[str, Any]) -> None:
    """Refuse instructions that were counted of other programs."""
    for name in ("python", "packages"):
        was, now = baseline["machine"][name], result["machine"][name]
        if was != now:
            raise IncomparableError(
                f"instructions were counted with {name} {now}, the baseline's with {was}; install those, or make a new "
                "baseline"
            )


def _comparable_times(result: Mapping[str, Any], baseline: Mapping[str, Any], limits: Limits) -> None:
    """Refuse times that say nothing about each other."""
    off = 'or set timings = "off" in [gate] to compare all else'
    machines = [value["machine"] for value in (baseline, result)]
    for machine, what in zip(machines, ("the baseline", "the result"), strict=True):
        if machine["emulated"]:
            raise IncomparableError(f"{what} was measured under emulation; measure on a device, {off}")
    differing = [name for name in MACHINE if machines[0].get(name) != machines[1].get(name)]
    if limits.timings == "anywhere" and _are_relative(baseline, result):
        differing = [name for name in differing if name == "architecture"]
    if differing:
        was, now = (", ".join(str(machine.get(name)) for name in differing) for machine in machines)
        raise IncomparableError(
            f"the baseline's times are of another machine ({', '.join(differing)}: {was}; here {now}); keep a baseline "
            f"for each machine, {off}"
        )


def _are_relative(baseline: Mapping[str, Any], result: Mapping[str, Any]) -> bool:
    """Both have times of the reference, so that all others can be multiples of it."""
    return all(value["reference"] and _named(value, value["reference"])["latency"] for value in (baseline, result))


def _base(value: Mapping[str, Any], form: str) -> Mapping[str, Any]:
    """The reference's times: in the same form, else in its first one."""
    latency = _named(value, value["reference"])["latency"]
    found: Mapping[str, Any] = latency.get(form, next(iter(latency.values())))
    return found


def _relative(variant: Mapping[str, Any], form: str, base: Mapping[str, Any] | None) -> tuple[float, float]:
    """A variant's times as multiples of the base's, or in ms: the median over a run's rounds, its standard error."""
    rounds = np.asarray(variant["latency"][form]["rounds_ms"])
    if base is not None:
        rounds = rounds / np.asarray(base["rounds_ms"])
    low, middle, high = np.percentile(rounds, (25, 50, 75))
    # Of the median of a normal distribution: √(π/2) σ / √n, and 1.349 σ lies between its quartiles.
    error = 0.929 * (high - low) / middle / np.sqrt(len(rounds)) if len(rounds) >= FEWEST_ROUNDS else np.inf
    return float(middle), float(error)


def _times(
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    baseline: Mapping[str, Any],
    result: Mapping[str, Any],
    limits: Limits,
) -> Iterator[Finding]:
    reference, relative = baseline["reference"], _are_relative(baseline, result)
    if before["name"] == reference:
        return
    of = f", share of {reference}" if relative else ""
    for form, latency in before["latency"].items():
        mine = after["latency"].get(form)
        if mine is None or (latency["front_end"] is None) != (mine["front_end"] is None):
            raise IncomparableError(
                f"{before['name']}, {form}: no such times in the result; measure the same lengths, with scipy on the "
                "target in both or in neither"
            )
        old, was = _relative(before, form, _base(baseline, form) if relative else None)
        new, now = _relative(after, form, _base(result, form) if relative else None)
        if max(was, now) <= LARGEST_ERROR * limits.latency:
            what = f"median of a decision, {form_title(form)}{of or ', ms'}"
            yield _judged(before, what, old, new, new > (1 + limits.latency) * old, limits.latency)
    if peak := _peak(before):
        what = f"peak resident set{of or ', bytes'}"
        shares = [_peak(_named(value, reference)) if relative else 1 for value in (baseline, result)]
        if all(shares):
            old, new = peak / shares[0], _still(before, _peak(after) or None, what) / shares[1]
            yield _judged(before, what, old, new, new > (1 + limits.memory) * old, limits.memory)


def _peak(variant: Mapping[str, Any] | None) -> int:
    return (variant["memory"]["peak"] or 0) if variant and variant["memory"] else 0


def _still(before: Mapping[str, Any], value: float | None, what: str) -> float:
    """A value that the baseline has, and the result must have too."""
    if value is None:
        raise IncomparableError(f"{before['name']}: the baseline has {what}, the result has not; measure it too")
    return value


def _judged(before: Mapping[str, Any], what: str, old: float, new: float, worse: bool, limit: float) -> Finding:
    why = f"limit {100 * limit:g} %" if limit else "must not grow"
    return Finding(before["name"], what, old, new, "regression" if worse else "holds", why)
