"""`edge-asc scenes`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import ConsoleProgress, echo, json_option, print_json, quiet_option


@click.command("scenes", short_help="Write a data set of generated scenes.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--clips", default=20, show_default=True, type=click.IntRange(2), help="Clips of each of the ten labels.")
@click.option("--seconds", default=10.0, show_default=True, type=click.FloatRange(0.256), help="Length of a clip.")
@click.option("--folds", default=1, show_default=True, type=click.IntRange(1), help="Folds to split them into.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the scenes.")
@quiet_option
@json_option
def command(folder: Path, clips: int, seconds: float, folds: int, seed: int, as_json: bool) -> None:
    """Write seeded, generated scenes with the ten TAU labels to FOLDER, in the TAU layout.

    The scenes are textures with sparse events, for trying the tools where there are no recordings. They are not
    realistic: results on them say nothing about real scenes.
    """
    from edge_asc.data.generated import write_scenes

    dataset = write_scenes(folder, clips, seed, seconds, folds, ConsoleProgress())
    if as_json:
        print_json({"folder": str(folder), "clips": len(dataset.clips), "labels": list(dataset.labels)})
    else:
        echo(f"{len(dataset.clips)} clips of {seconds:g} s written to {folder}")
