"""`edge-asc report`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import echo, log
from edge_asc.cli.output import OutputPath, save
from edge_asc.errors import require


@click.command("report", short_help="Write one page about results.")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("--output", type=OutputPath(), help="HTML file.")
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown, for a pull request.")
def command(results: tuple[Path, ...], output: Path | None, markdown: bool) -> None:
    """Write one self-contained HTML page about RESULTS: the JSON of bench, export, classify, evaluate and
    reproduce."""
    if output is None and not markdown:
        raise click.UsageError("nothing to write; give --output FILE.html, --markdown, or both")
    require("msgspec", "bench")
    from edge_asc_bench import page

    documents = page.load(results)
    if output:
        save(output, page.to_html(documents).encode(errors="backslashreplace"))
        log.print(f"written to {output}")
    if markdown:
        echo(page.to_markdown(documents), newline=False)
