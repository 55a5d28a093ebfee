"""`edge-asc report`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import echo, log
from edge_asc.cli.output import OutputPath, save
from edge_asc.errors import require


@click.command("report", short_help="Write one page about results.")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--output", type=OutputPath(), help="HTML file.")
@click.option(
    "--embed-audio",
    is_flag=True,
    help="Put the sound of listed clips inside the page: 10 s of each and 20 MB together at most. Without it, and "
    "beyond that, players play the files.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of the recordings, where it has been moved.",
)
@click.option("--markdown", is_flag=True, help="Print the tables as Markdown, for a pull request.")
def command(
    results: tuple[Path, ...], output: Path | None, embed_audio: bool, data: Path | None, markdown: bool
) -> None:
    """Write one self-contained HTML page about RESULTS.

    They are the JSON of bench, export, classify, evaluate and reproduce, or the folder of a training: its learning
    curves, its errors on held-out clips, and clips whose label may be wrong.
    """
    if output is None and not markdown:
        raise click.UsageError("nothing to write; give --output FILE.html, --markdown, or both")
    require("msgspec", "bench")
    from edge_asc_bench import page
    from edge_asc_bench.players import Players

    documents = page.load(results)
    if output:
        players = Players(output, data, embed=embed_audio)
        save(output, page.to_html(documents, players).encode(errors="backslashreplace"))
        if players.missing:
            log.print(
                f"sound files that were not found: {players.missing}; give the folder of the recordings with --data"
            )
        log.print(f"written to {output}")
    if markdown:
        echo(page.to_markdown(documents), newline=False)
