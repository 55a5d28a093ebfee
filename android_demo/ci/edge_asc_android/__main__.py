"""`python -m edge_asc_android`: assets and golden vectors of the Android demo, its tests on the JVM, its APK."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from edge_asc.cli.console import log, progress
from edge_asc.errors import EdgeAscError
from edge_asc.zoo import zoo

bundles_argument = click.argument("bundles", type=click.Path(exists=True, file_okay=False, path_type=Path))
folder_option = click.option(
    "--folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("build/android"),
    show_default=True,
    help="Of all that is made.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def cli() -> None:
    """The Android demo, as far as it can be made and proven without Gradle and a phone."""


@cli.command("assets")
@bundles_argument
@click.argument("models", nargs=-1)
@folder_option
def assets_command(bundles: Path, models: tuple[str, ...], folder: Path) -> None:
    """Write the app's assets and the golden vectors, from BUNDLES/MODEL/{float,int8} of MODELS [default: the zoo's]."""
    from edge_asc_android import assets, golden

    with progress() as bar:
        task = bar.add_task("assets", total=2)
        assets.write(bundles, models or zoo(), folder / "assets")
        bar.update(task, description="golden vectors", completed=1)
        golden.write(bundles, models or zoo(), folder / "golden")
        bar.update(task, completed=2)
    log.print(f"written to {folder / 'assets'} and {folder / 'golden'}")


@cli.command("build")
@folder_option
def build_command(folder: Path) -> None:
    """Compile, test on the JVM, check references to Android, and build a debug APK, from what `assets` wrote."""
    from edge_asc_android import api, apk, jvm
    from edge_asc_android.toolchain import toolchain

    # Without vectors, tests would be skipped.
    for part in ("assets/bench", "golden/golden.json"):
        if not (folder / part).exists():
            raise EdgeAscError(f"{folder / part}: not there; run: python -m edge_asc_android assets BUNDLES")
    with progress() as bar:
        task = bar.add_task("tools", total=6)

        def begin(what: str) -> None:
            bar.update(task, description=what, advance=1)

        tools = toolchain()
        begin("compiling")
        classes = jvm.build(tools, folder / "classes")
        begin("tests")
        told = jvm.test(tools, classes, folder / "golden")
        begin("benchmark")
        results = [
            jvm.bench(tools, classes, folder / "assets", plan.stem, folder / f"bench-{plan.stem}.json")
            for plan in sorted((folder / "assets/bench").glob("*.json"))
        ]
        begin("references to Android")
        mains = [path for name, path in classes.items() if name.endswith("main")]
        app, unsigned = apk.compile_app(tools, mains, folder / "apk", folder / "assets")
        used = [reference for folder in (*mains, app) for reference in api.references(folder)]
        lost = api.missing(used, tools.interface)
        begin("APK")
        if lost:
            raise EdgeAscError("not in Android's interface:\n" + "\n".join(map(str, lost)))
        made = folder / "demo-debug.apk"
        found = apk.package(tools, [*mains, app, unsigned.parent / "resources"], unsigned, made)
    click.echo(told.strip())
    for result in results:
        click.echo(jvm.ratios(result))
    click.echo(f"{len(used)} references to Android, all of them in its interface")
    click.echo(f"{made}: {found}")


def main() -> None:
    """Run the command line; a known error is one message and exit code 2."""
    try:
        cli()
    except EdgeAscError as error:
        click.echo(f"edge_asc_android: {error}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
