"""Findings of the gate, and how they are shown: JUnit, Markdown, github-action-benchmark."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree import ElementTree

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


def list_regressions(findings: Sequence[Finding]) -> list[Finding]:
    """Return the findings that are worse than the baseline."""
    return [finding for finding in findings if finding.verdict == "regression"]


def to_junit(findings: Sequence[Finding]) -> str:
    """Return the findings as a JUnit XML document."""
    failed = list_regressions(findings)
    suite = ElementTree.Element("testsuite", name="edge-asc check", tests=str(len(findings)), failures=str(len(failed)))
    for finding in findings:
        case = ElementTree.SubElement(suite, "testcase", classname=finding.variant, name=finding.what)
        if finding.verdict == "regression":
            text = f"{finding.before:.6g} → {finding.after:.6g}: {finding.why}"
            ElementTree.SubElement(case, "failure", message=text)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def error_to_junit(message: str) -> str:
    """Return a check that could not compare as a JUnit XML document."""
    suite = ElementTree.Element("testsuite", name="edge-asc check", tests="1", errors="1")
    ElementTree.SubElement(ElementTree.SubElement(suite, "testcase", name="comparison"), "error", message=message)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True)


def to_markdown(findings: Sequence[Finding]) -> str:
    """Return the changes as a Markdown table, or a line if all comparisons hold."""
    changed = [finding for finding in findings if finding.verdict != "holds"]
    if not changed:
        return f"### edge-asc check\n\nAll {len(findings)} comparisons hold.\n"
    rows = [f"| {f.variant} | {f.what} | {f.before:.5g} | {f.after:.5g} | {f.verdict}: {f.why} |" for f in changed]
    head = ["### edge-asc check", "", "| model | what | baseline | now | |", "|---|---|---|---|---|"]
    return "\n".join([*head, *rows, "", f"{len(findings) - len(changed)} other comparisons hold.", ""])


def to_benchmark_action(result: Result) -> list[Entry]:
    """Return a result for github-action-benchmark's tool customSmallerIsBetter."""
    entries = []
    for variant in result.variants:
        entries.append(Entry(f"{variant.name}: size", "bytes", variant.bytes))
        # Times under emulation are no device's.
        for form, latency in ({} if result.machine.emulated else variant.latency).items():
            name = f"{variant.name}: {form if form == 'step' else f'{form} s window'}, p50"
            entries.append(Entry(name, "ms", latency.total.p50, f"± {latency.total.deviation:.3g}"))
    return entries
