"""`edge-asc conformance`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import ConsoleProgress, log, quiet_option
from edge_asc.cli.output import OutputPath
from edge_asc.zoo import DEFAULT

GOLDEN = Path("build/golden")


@click.group("conformance", short_help="Compare artefacts in other languages and runtimes with Python.")
def command() -> None:
    """Give artefacts the same audio in other languages and runtimes as in Python, and compare the results."""


@command.command("golden", short_help="Write golden vectors: audio, artefacts, and Python's results.")
@click.argument("model", default=DEFAULT)
@click.option("--output", type=OutputPath(folder=True), default=GOLDEN, show_default=True, help="Folder.")
@quiet_option
def golden_command(model: str, output: Path) -> None:
    """Write golden vectors of MODEL, for tests in any language.

    MODEL is a causal checkpoint or the name of a pretrained model. The folder holds recordings of 15 s, the artefacts
    that take samples (float and int8, ONNX and TFLite), and each one's logits and probabilities after each step, as
    plain binary numbers that golden.json describes.
    """
    from edge_asc_conformance.preparation import prepare

    document = prepare(model, output, progress=ConsoleProgress())
    log.print(f"{len(document.artefacts)} artefacts, {len(document.files)} files of numbers, written to {output}")
