"""`edge-asc bench`."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.core import ParameterSource

from edge_asc.cli.console import (
    ConsoleProgress,
    Lengths,
    json_option,
    log,
    out,
    print_json,
    quiet_option,
    threads_option,
)
from edge_asc.cli.model import ModelName, backbone_option
from edge_asc.cli.output import OutputPath, check_output, save_json
from edge_asc.errors import require

if TYPE_CHECKING:
    from edge_asc_bench.job import Settings
    from edge_asc_bench.result import Result
    from edge_asc_bench.streams import StreamPlan
    from edge_asc_bench.target import AppTarget, Target, TargetOptions

# Options that an application on a device cannot apply: it has clips and settings of its own.
NOT_FOR_APPS = ("lengths", "data", "fold", "hours", "background", "python", "torch", "clean", "ssh_config", "threads")


class BenchCommand(click.Command):
    """A command whose help lists the installed kinds of targets."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of targets."""
        from edge_asc_bench.target import TARGETS

        with formatter.section("Targets"):
            formatter.write_dl([(kind.usage, kind.help) for kind in TARGETS.all().values()])


@click.command(
    "bench", cls=BenchCommand, short_help="Latency, memory and accuracy of models, side by side, here or on a device."
)
@click.argument("models", type=ModelName(), nargs=-1, required=True)
@click.option("--lengths", type=Lengths(), default="1-10", show_default=True, help="Seconds since reset.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Folder of labelled recordings, for accuracy [default: only agreement, on generated scenes].",
)
@click.option("--fold", type=int, help="Of --data: only the held-out clips of this fold.")
@click.option(
    "--stream",
    "hours",
    type=click.FloatRange(0.01, 1000),
    metavar="HOURS",
    help="Of --data: also measure events on an endless stream of its clips, on this machine.",
)
@click.option(
    "--background",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --stream: data set whose clips of other labels are the background [default: faint noise].",
)
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True, help="Interleaved rounds.")
@click.option(
    "--duration",
    type=click.FloatRange(0),
    default=0.0,
    show_default=True,
    help="Seconds of sustained inference per model, after the rounds.",
)
@click.option(
    "--output",
    type=OutputPath(),
    default=Path("bench.json"),
    show_default=True,
    help="Result file.",
)
@click.option(
    "--target",
    "targets",
    multiple=True,
    default=("local",),
    show_default=True,
    help="URL of a target, see below; repeat it to measure on several at the same time.",
)
@click.option("--app", is_flag=True, help="Shorthand: adb:// targets become app:// ones.")
@click.option("--python", default="python3", show_default=True, help="Command that starts Python on a remote target.")
@click.option(
    "--torch/--no-torch", default=False, help="Measure checkpoints on remote targets, too; installs PyTorch there."
)
@click.option("--clean", is_flag=True, help="Remove the environment from an SSH target afterwards.")
@click.option(
    "--ssh-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="SSH configuration file [default: ~/.ssh/config].",
)
@backbone_option
@threads_option
@quiet_option
@json_option
def command(
    models: tuple[str, ...],
    lengths: tuple[int, ...],
    data: Path | None,
    fold: int | None,
    hours: float | None,
    background: Path | None,
    rounds: int,
    duration: float,
    output: Path,
    targets: tuple[str, ...],
    app: bool,
    python: str,
    torch: bool,
    clean: bool,
    ssh_config: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Measure MODELS (checkpoints, artefacts, bundles, pretrained models) here or on other machines.

    Every model runs in a process of its own, in interleaved rounds. The other models are compared with the first
    checkpoint. A decision's time is the time of the front end and the model. Memory is the peak of a process that only
    loads and runs the model.

    With several targets, each result is named after its target. A target that is lost leaves a result marked
    incomplete, and the exit code is 2.
    """
    require("msgspec", "bench")
    from edge_asc_bench.job import Settings
    from edge_asc_bench.target import TargetOptions

    if app:
        targets = tuple(re.sub("^adb://", "app://", target) for target in targets)
    options = TargetOptions(python, torch, clean, ssh_config)
    apps, machines = _open_targets(targets, options)
    settings = Settings(lengths, threads, rounds, duration)
    saver = _Saver(output, several=len(targets) > 1, as_json=as_json)
    if apps:
        _check_app_usage(models, targets)
        results = [_bench_app(apps[0], models[0], settings, saver)]
    else:
        if fold is not None and data is None:
            raise click.UsageError("--fold belongs to --data")
        if hours is not None and data is None:
            raise click.UsageError("--stream belongs to --data")
        if background is not None and hours is None:
            raise click.UsageError("--background belongs to --stream")
        results = _bench(models, _Subject(data, fold, hours, background), machines, settings, saver)
    if as_json:
        documents = [result.to_json() for result in results]
        print_json(documents[0] if len(documents) == 1 else documents)
    if any(not result.complete for result in results):
        sys.exit(2)


def _open_targets(urls: Sequence[str], options: TargetOptions) -> tuple[list[AppTarget], list[Target]]:
    """Open targets: applications, and machines that do jobs."""
    from edge_asc_bench.target import find_kind, open_app, open_target

    if len(set(urls)) < len(urls):
        raise click.UsageError("a target is named twice")
    apps = [open_app(url, options) for url in urls if find_kind(url).is_app]
    return apps, [open_target(url, options) for url in urls if not find_kind(url).is_app]


def _check_app_usage(models: Sequence[str], targets: Sequence[str]) -> None:
    source = click.get_current_context().get_parameter_source
    others = [name.replace("_", "-") for name in NOT_FOR_APPS if source(name) is ParameterSource.COMMANDLINE]
    if len(targets) > 1 or len(models) > 1 or others:
        without = f"; omit --{', --'.join(others)}" if others else ""
        raise click.UsageError(
            f"an app takes one model, and no other target beside it{without}: clips and settings are in the app"
        )


@dataclass(frozen=True)
class _Subject:
    """The clips that a user names, and the stream to mix from them.

    Attributes:
        data: folder of a data set; None for generated scenes.
        fold: whose held-out clips are used; None for all.
        hours: of the stream; None for no stream.
        background: folder of the data set of its background; None for faint noise.
    """

    data: Path | None
    fold: int | None
    hours: float | None = None
    background: Path | None = None

    def plan_stream(self) -> StreamPlan | None:
        """Return the stream to measure on; None for none."""
        from edge_asc.evaluation.soundscape import Mixture
        from edge_asc_bench.streams import StreamPlan

        if self.data is None or self.hours is None:
            return None
        return StreamPlan(self.data, self.fold, self.background, Mixture(3600.0 * self.hours))


def _bench(
    models: Sequence[str], subject: _Subject, targets: Sequence[Target], settings: Settings, saver: _Saver
) -> list[Result]:
    from edge_asc_bench.measurement import Benchmark, bench

    saver.check([target.name for target in targets])
    progress = ConsoleProgress()
    benchmark = Benchmark.of(models, subject.data, subject.fold, settings, progress)
    benchmark = replace(benchmark, command=_command_line(), stream=subject.plan_stream())
    return bench(benchmark, targets, progress=progress, finished=saver.save)


def _bench_app(target: AppTarget, model: str, settings: Settings, saver: _Saver) -> Result:
    from edge_asc_bench.measurement import bench_app

    with ConsoleProgress().phase("starting the app") as phase:
        result = bench_app(target, model, settings, _command_line(), phase)
    saver.save(target.name, result)
    return result


def _command_line() -> str:
    return shlex.join(["edge-asc", *sys.argv[1:]])


class _Saver:
    """Writes each result to its file, and shows it.

    Args:
        output: file of a single result; those of several are named after their targets.
        several: results are expected.
        as_json: results are printed as JSON, so no table is shown.
    """

    def __init__(self, output: Path, *, several: bool, as_json: bool) -> None:
        self._output, self._several, self._as_json = output, several, as_json

    def path(self, target: str) -> Path:
        """Return the file of a target's result."""
        return self._output.with_stem(f"{self._output.stem}-{_slug(target)}") if self._several else self._output

    def check(self, targets: Sequence[str]) -> None:
        """Check that all results have files of their own, which can be written."""
        if len({self.path(target) for target in targets}) < len(targets):
            raise click.UsageError("two targets would write the same file; measure them one after another")
        for target in targets:
            check_output(self.path(target))

    def save(self, target: str, result: Result) -> None:
        """Write a result to its file, and show it."""
        from edge_asc_bench.summary import list_notes, tabulate

        path = self.path(target)
        save_json(path, result.to_json())
        log.print(f"written to {path}")
        if not self._as_json:
            out.print(tabulate(result))
            for note in list_notes(result):
                log.print(note)


def _slug(target: str) -> str:
    """A target's name as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", target.partition("://")[2] or target).strip("-") or target
