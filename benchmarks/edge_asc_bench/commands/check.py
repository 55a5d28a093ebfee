"""`edge-asc check`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.errors import EdgeAscError

path_option = click.Path(dir_okay=False, path_type=Path)


@click.command("check", short_help="Gate a benchmark's result against a baseline.")
@click.argument("result", type=path_option)
@click.option("--baseline", required=True, type=path_option, help="A committed result.")
@click.option("--config", type=path_option, help="TOML with limits in [gate].")
@click.option("--update-baseline", is_flag=True, help="Make RESULT the baseline; compares nothing.")
@click.option("--junit", type=path_option, help="Also write JUnit XML.")
@click.option("--summary", type=path_option, help="Append Markdown, as to $GITHUB_STEP_SUMMARY.")
@click.option("--benchmark-json", type=path_option, help="Also write what github-action-benchmark reads.")
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
    from edge_asc.errors import require

    require("edge_asc_bench", "bench")
    from edge_asc.files import write_bytes, write_json
    from edge_asc_bench import gate
    from edge_asc_bench.result import read

    found = read(result)
    if benchmark_json:
        write_json(benchmark_json, gate.benchmark_action(found))
    if update_baseline:
        if not found["complete"]:
            raise gate.IncomparableError(f"{result} is incomplete; measure again before it becomes a baseline")
        write_json(baseline, found)
        log.print(f"{baseline} is now what {result} measured at {found['made']['at']}")
        return
    before = read(baseline)
    limits = gate.Limits.read(config) if config else gate.Limits()
    try:
        findings = gate.check(found, before, limits)
    except gate.IncomparableError as error:
        if summary:
            with summary.open("a") as file:
                file.write(f"### edge-asc check\n\nCannot be compared: {error}\n")
        if junit:
            write_bytes(junit, gate.junit_error(str(error)).encode())
        raise
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        raise EdgeAscError(f"a result lacks a field ({error!r}); measure again with this version") from error
    for text in gate.skipped(found, before, limits):
        log.print(f"not compared: {text}")
    failed = gate.regressions(findings)
    if junit:
        write_bytes(junit, gate.junit(findings).encode())
    if summary:
        with summary.open("a") as file:
            file.write(gate.markdown(findings))
    if as_json:
        print_json({"holds": not failed, "findings": [finding.to_json() for finding in findings]})
    else:
        table = Table(title=f"{len(findings)} comparisons, {len(failed)} regressions", title_justify="left")
        for name in ("model", "what"):
            table.add_column(name, overflow="fold")
        for name in ("baseline", "now"):
            table.add_column(name, justify="right")
        table.add_column("")
        for finding in findings:
            if finding.verdict != "holds":
                text = f"{finding.verdict}: {finding.why}"
                table.add_row(finding.variant, finding.what, f"{finding.before:.5g}", f"{finding.after:.5g}", text)
        out.print(table if table.row_count else f"all {len(findings)} comparisons hold")
    if failed:
        sys.exit(1)
