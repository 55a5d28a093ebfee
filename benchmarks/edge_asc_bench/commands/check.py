"""`edge-asc check`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json, quiet_option
from edge_asc.cli.exits import ExitCode
from edge_asc.cli.output import OutputPath, append_text, check_output, save, save_json
from edge_asc.errors import require

if TYPE_CHECKING:
    from edge_asc_bench.finding import Comparison

path_option = click.Path(dir_okay=False, path_type=Path)


@click.command("check", short_help="Gate a benchmark's result against a baseline.")
@click.argument("result", type=path_option)
@click.option("--baseline", required=True, type=path_option, help="A committed result.")
@click.option("--config", type=path_option, help="TOML with limits in [gate].")
@click.option("--update-baseline", is_flag=True, help="Make RESULT the baseline; compares nothing.")
@click.option("--allow-missing", is_flag=True, help="Report models that RESULT lacks; do not fail for them.")
@click.option("--junit", type=OutputPath(), help="Also write JUnit XML.")
@click.option(
    "--summary", type=OutputPath(append=True), help="Append Markdown to this file, such as $GITHUB_STEP_SUMMARY."
)
@click.option("--benchmark-json", type=OutputPath(), help="Also write the JSON that github-action-benchmark reads.")
@quiet_option
@json_option
def command(
    result: Path,
    baseline: Path,
    config: Path | None,
    update_baseline: bool,
    allow_missing: bool,
    junit: Path | None,
    summary: Path | None,
    benchmark_json: Path | None,
    as_json: bool,
) -> None:
    """Compare RESULT, which `edge-asc bench` wrote, with a baseline.

    Exit code 0: it holds. 1: a regression. 2: they cannot be compared, or a file cannot be read or believed.
    """
    require("msgspec", "bench")
    from edge_asc_bench import finding, gate
    from edge_asc_bench.limits import Limits
    from edge_asc_bench.result import read

    measured = read(result)
    if benchmark_json:
        save_json(benchmark_json, [entry.to_json() for entry in finding.to_benchmark_action(measured)])
    if update_baseline:
        if not measured.complete:
            raise gate.IncomparableError(f"{result} is incomplete; measure again before it becomes a baseline")
        check_output(baseline)
        save_json(baseline, measured.to_json())
        log.print(f"{baseline} is now the result of {measured.made.at} in {result}")
        return
    before = read(baseline)
    limits = Limits.read(config) if config else Limits()
    try:
        comparison = gate.check(measured, before, limits, allow_missing=allow_missing)
    except gate.IncomparableError as error:
        _write(junit, summary, finding.error_to_junit(str(error)), finding.error_to_markdown(str(error)))
        raise
    for skip in comparison.skips:
        log.print(f"not compared: {skip}")
    _write(junit, summary, finding.to_junit(comparison), finding.to_markdown(comparison))
    if as_json:
        print_json(comparison.to_json())
    else:
        out.print(_tabulate(comparison))
    if comparison.regressions:
        sys.exit(ExitCode.CHECK_FAILED)


def _write(junit: Path | None, summary: Path | None, xml: str, markdown: str) -> None:
    if junit:
        save(junit, xml.encode())
    if summary:
        append_text(summary, markdown)


def _tabulate(comparison: Comparison) -> Table | str:
    """The comparisons that do not hold as a table; a line if all hold."""
    count, changed = len(comparison.findings), comparison.changes
    if not changed:
        skipped = f"; {len(comparison.skips)} not made" if comparison.skips else ""
        return f"all {count} comparisons hold{skipped}"
    title = f"{count} comparisons, {len(comparison.regressions)} regressions, {len(comparison.skips)} not made"
    table = Table(title=title, title_justify="left")
    for name in ("model", "what"):
        table.add_column(name, overflow="fold")
    for name in ("baseline", "now"):
        table.add_column(name, justify="right")
    table.add_column("")
    for finding in changed:
        values = f"{finding.before:.5g}", f"{finding.after:.5g}"
        table.add_row(finding.variant, finding.what, *values, f"{finding.verdict}: {finding.why}")
    return table
