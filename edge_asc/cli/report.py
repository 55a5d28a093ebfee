"""`edge-asc report`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import out
from edge_asc.errors import require


@click.command("report", short_help="Write one page of what was found.")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", required=True, type=click.Path(dir_okay=False, path_type=Path), help="HTML file.")
def command(results: tuple[Path, ...], output: Path) -> None:
    """Write one self-contained HTML page of RESULTS: the JSON of bench, export, classify and evaluate."""
    require("jinja2", "bench")
    from edge_asc_bench.report import write_report

    write_report(results, output)
    out.print(f"written to {output}")
