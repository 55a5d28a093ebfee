"""`edge-asc report`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import echo, log
from edge_asc.cli.output import OutputPath, check_output, save
from edge_asc.errors import EdgeAscError, require

DEFAULT = Path("report.html")
# In the first bytes of each page that this command has written.
MARK, HEAD = b"<title>edge-asc report", 4096


@click.command("report", short_help="Write one page about results.")
@click.argument("results", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--output", type=OutputPath(), help=f"HTML file [default: {DEFAULT}, here].")
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
@click.option("--markdown", is_flag=True, help="Print the verdict and the tables as Markdown, for a pull request.")
def command(
    results: tuple[Path, ...], output: Path | None, embed_audio: bool, data: Path | None, markdown: bool
) -> None:
    """Write one self-contained HTML page about RESULTS.

    They are the JSON of bench, export, classify, evaluate and reproduce, or the folder of a training: its learning
    curves, its errors on held-out clips, and clips whose label may be wrong.

    The page begins with the verdict. It replaces an earlier page of this command, and no other file. With --markdown
    alone, no page is written.
    """
    if output is None and not markdown:
        output = DEFAULT
        check_output(output)
    if output is not None:
        check_replaceable(output)
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


def check_replaceable(path: Path) -> None:
    """Check that a page may be written to a path: nothing is there, an earlier page, an empty file, or a device.

    Raises:
        EdgeAscError: another file is there, or it cannot be read.
    """
    if not path.is_file():
        return
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError as error:
        raise EdgeAscError(f"{path}: cannot be read ({error.strerror}); give another name with --output") from error
    if head and MARK not in head:
        raise EdgeAscError(
            f"{path}: is a file that edge-asc report has not written, expected none or an earlier report; give another "
            "name with --output, or remove the file"
        )
