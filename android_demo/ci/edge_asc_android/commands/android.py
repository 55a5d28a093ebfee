"""`edge-asc android`."""

from __future__ import annotations

from pathlib import Path

import click

from edge_asc.cli.console import ConsoleProgress, echo, log, quiet_option

folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/android"),
    show_default=True,
    help="Folder for all files.",
)


@click.group("android", short_help="Write the Android demo's assets; build and test it.")
def command() -> None:
    """Prepare the Android demo, and verify it without Gradle and without a phone."""


@command.command("assets")
@click.argument("bundles", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("models", nargs=-1)
@folder_option
@quiet_option
def assets_command(bundles: Path, models: tuple[str, ...], folder: Path) -> None:
    """Write the app's assets and the golden vectors of its tests.

    They are made from the artefacts in BUNDLES/MODEL/{float,int8} of MODELS [default: all pretrained models].
    """
    from edge_asc.zoo import zoo
    from edge_asc_android import assets, golden

    progress = ConsoleProgress()
    assets.write(bundles, models or zoo(), folder / "assets", progress)
    golden.write(bundles, models or zoo(), folder / "golden", progress)
    log.print(f"written to {folder / 'assets'} and {folder / 'golden'}")


@command.command("build")
@folder_option
@quiet_option
def build_command(folder: Path) -> None:
    """Compile the app, test it on the JVM, check its references to Android, and build a debug APK.

    Needs a clone of the repository, and the files that `edge-asc android assets` writes to the same folder.
    """
    from edge_asc_android.build import build

    summary = build(folder, ConsoleProgress())
    echo(summary.tests)
    for row in summary.benchmarks:
        echo(row)
    echo(f"{summary.references} references to Android, all of them in its interface")
    echo(f"{summary.apk}: {summary.apk_summary}")
