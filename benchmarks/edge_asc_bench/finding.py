"""Findings of the gate, and how they are shown: JUnit, Markdown, github-action-benchmark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

from edge_asc_bench.markup import escape_markdown, escape_xml
from edge_asc_bench.result import Result

Verdict = Literal["holds", "regression", "improvement"]


@dataclass(frozen=True)
class Finding:
    """One comparison.

    Attributes:
        variant: name of the model.
        what: was compared.
        before, after: values in baseline and result.
        verdict: "holds", "regression", or "improvement", which is unexpected, so it is reported.
        why: the limit, and the distance from it.
    """

    variant: str
    what: str
    before: float
    after: float
    verdict: Verdict
    why: str


@dataclass(frozen=True)
class Skip:
    """One comparison that was not made.

    Attributes:
        variant: name of the model; "" for all.
        what: was not compared.
        why: the reason.
    """

    variant: str
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.variant}, {self.what}: {self.why}" if self.variant else f"{self.what}: {self.why}"


@dataclass(frozen=True)
class Comparison:
    """The comparison of a result with a baseline.

    Attributes:
        findings: comparisons that were made, one at least.
        skips: comparisons that were not made.
    """

    findings: tuple[Finding, ...]
    skips: tuple[Skip, ...]

    @property
    def regressions(self) -> list[Finding]:
        """The findings that are worse than the baseline."""
        return [finding for finding in self.findings if finding.verdict == "regression"]

    @property
    def changes(self) -> list[Finding]:
        """The findings that do not hold, for better or worse."""
        return [finding for finding in self.findings if finding.verdict != "holds"]

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return {
            "holds": not self.regressions,
            "findings": [vars(finding) for finding in self.findings],
            "skipped": [vars(skip) for skip in self.skips],
        }


@dataclass(frozen=True)
class Entry:
    """One value for github-action-benchmark.

    Attributes:
        name: unique.
        unit: of the value.
        value: smaller is better.
        range: spread of the value; "" for none.
    """

    name: str
    unit: str
    value: float
    range: str = ""

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        value: dict[str, object] = {"name": self.name, "unit": self.unit, "value": self.value}
        return {**value, "range": self.range} if self.range else value


def to_junit(comparison: Comparison) -> str:
    """Return a comparison as a JUnit XML document; what was not compared is a skipped test with its reason."""
    findings, skips = comparison.findings, comparison.skips
    suite = _make_suite(len(findings) + len(skips), failures=len(comparison.regressions), skipped=len(skips))
    for finding in findings:
        case = _add_case(suite, finding.variant, finding.what)
        if finding.verdict == "regression":
            text = f"{finding.before:.6g} → {finding.after:.6g}: {finding.why}"
            ElementTree.SubElement(case, "failure", message=escape_xml(text))
    for skip in skips:
        ElementTree.SubElement(_add_case(suite, skip.variant, skip.what), "skipped", message=escape_xml(skip.why))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def error_to_junit(message: str) -> str:
    """Return a check that could not compare as a JUnit XML document."""
    suite = _make_suite(1, errors=1)
    ElementTree.SubElement(_add_case(suite, "", "comparison"), "error", message=escape_xml(message))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def _make_suite(tests: int, **counts: int) -> ElementTree.Element:
    numbers = {name: str(count) for name, count in {"tests": tests, **counts}.items()}
    return ElementTree.Element("testsuite", {"name": "edge-asc check", **numbers})


def _add_case(suite: ElementTree.Element, variant: str, what: str) -> ElementTree.Element:
    return ElementTree.SubElement(suite, "testcase", classname=escape_xml(variant), name=escape_xml(what))


def to_markdown(comparison: Comparison) -> str:
    """Return the changes as a Markdown table, or a line if all comparisons hold; and what was not compared."""
    changed, count = comparison.changes, len(comparison.findings)
    lines = ["### edge-asc check", ""]
    if changed:
        lines += ["| model | what | baseline | now | |", "|---|---|---|---|---|"]
        lines += [f"| {' | '.join(map(escape_markdown, _list_cells(finding)))} |" for finding in changed]
        lines += ["", f"{count - len(changed)} other comparisons hold."]
    else:
        lines += [f"All {count} comparisons hold."]
    if comparison.skips:
        lines += ["", "Not compared:", "", *(f"- {escape_markdown(str(skip))}" for skip in comparison.skips)]
    return "\n".join([*lines, ""])


def error_to_markdown(message: str) -> str:
    """Return a check that could not compare as Markdown."""
    return f"### edge-asc check\n\nCannot be compared: {escape_markdown(message)}\n"


def _list_cells(finding: Finding) -> list[str]:
    values = f"{finding.before:.5g}", f"{finding.after:.5g}"
    return [finding.variant, finding.what, *values, f"{finding.verdict}: {finding.why}"]


def to_benchmark_action(result: Result) -> list[Entry]:
    """Return a result for github-action-benchmark's tool customSmallerIsBetter."""
    entries = []
    for variant in result.variants:
        entries.append(Entry(f"{variant.name}: size", "bytes", variant.bytes))
        if variant.arena is not None:
            entries.append(Entry(f"{variant.name}: arena", "bytes", variant.arena))
        # Times under emulation are no device's.
        for form, latency in ({} if result.machine.emulated else variant.latency).items():
            name = f"{variant.name}: {form if form == 'step' else f'{form} s window'}, p50"
            entries.append(Entry(name, "ms", latency.total.p50, f"± {latency.total.deviation:.3g}"))
    return entries
