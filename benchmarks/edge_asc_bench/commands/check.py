"""`edge-asc check`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.errors import require
from edge_asc.files import write_bytes, write_json

if TYPE_CHECKING:
    from edge_asc_bench.finding import Finding

path_option = click.Path(dir_okay=False, path_type=Path)


@click.command("check", short_help="Gate a benchmark's result against a baseline.")
@click.argument("result", type=path_option)
@click.option("--baseline", required=True, type=path_option, help="A committed result.")
@click.option("--config", type=path_option, help="TOML with limits in [gate].")
@click.option("--update-baseline", is_flag=True, help="Make RESULT the baseline; compares nothing.")
@click.option("--junit", type=path_option, help="Also write JUnit XML.")
@click.option("--summary", type=path_option, help="Append Markdown to this file, such as $GITHUB_STEP_SUMMARY.")
@click.option("--benchmark-json", type=path_option, help="Also write the JSON that github-action-benchmark reads.")
@json_option
def command(
    result: Path,
    baseline: Path,
    config: Path | None,
    update_baseline: bool,
    junit: Path | None,
    summary: Path | None,
    benchmark_json: Path | None,
    as_json: bool,
) -> None:
    """Compare RESULT, which `edge-asc bench` wrote, with a baseline.

    Exit code 0: it holds. 1: a regression. 2: they cannot be compared, or a file cannot be read.
    """
    require("msgspec", "bench")
    from edge_asc_bench import finding, gate
    from edge_asc_bench.limits import Limits
    from edge_asc_bench.result import read

    measured = read(result)
    if benchmark_json:
        write_json(benchmark_json, [entry.to_json() for entry in finding.to_benchmark_action(measured)])
    if update_baseline:
        if not measured.complete:
            raise gate.IncomparableError(f"{result} is incomplete; measure again before it becomes a baseline")
        write_json(baseline, measured.to_json())
        log.print(f"{baseline} is now the result of {measured.made.at} in {result}")
        return
    before = read(baseline)
    limits = Limits.read(config) if config else Limits()
    try:
        findings = gate.check(measured, before, limits)
    except gate.IncomparableError as error:
        _append(summary, f"### edge-asc check\n\nCannot be compared: {error}\n")
        if junit:
            write_bytes(junit, finding.error_to_junit(str(error)).encode())
        raise
    for text in gate.list_skipped(measured, before, limits):
        log.print(f"not compared: {text}")
    if junit:
        write_bytes(junit, finding.to_junit(findings).encode())
    _append(summary, finding.to_markdown(findings))
    failed = finding.list_regressions(findings)
    if as_json:
        print_json({"holds": not failed, "findings": [vars(each) for each in findings]})
    else:
        out.print(_tabulate(findings, len(failed)))
    if failed:
        sys.exit(1)


def _append(path: Path | None, text: str) -> None:
    if path:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)


def _tabulate(findings: Sequence[Finding], failed: int) -> Table | str:
    """The comparisons that do not hold as a table; a line if all hold."""
    changed = [finding for finding in findings if finding.verdict != "holds"]
    if not changed:
        return f"all {len(findings)} comparisons hold"
    table = Table(title=f"{len(findings)} comparisons, {failed} regressions", title_justify="left")
    for name in ("model", "what"):
        table.add_column(name, overflow="fold")
    for name in ("baseline", "now"):
        table.add_column(name, justify="right")
    table.add_column("")
    for finding in changed:
        values = f"{finding.before:.5g}", f"{finding.after:.5g}"
        table.add_row(finding.variant, finding.what, *values, f"{finding.verdict}: {finding.why}")
    return table
