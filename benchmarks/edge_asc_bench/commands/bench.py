"""`edge-asc bench`."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.table import Table

from edge_asc.cli.console import Lengths, json_option, log, out, print_json, progress, threads_option
from edge_asc.errors import ContractError
from edge_asc.evaluation.models import name_models

if TYPE_CHECKING:
    from edge_asc_bench.measurement import Clips
    from edge_asc_bench.targets import Target

SCENES = 2
NOT_OF_APP = ("lengths", "data", "fold", "python", "torch", "clean", "ssh_config", "threads")


@click.command("bench", short_help="Latency, memory and accuracy of models, side by side, here or on a device.")
@click.argument("models", nargs=-1, required=True)
@click.option("--lengths", type=Lengths(), default="1-10", show_default=True, help="Seconds since reset.")
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Labelled data set in TAU layout, for accuracy [default: agreement alone, on generated scenes].",
)
@click.option("--fold", type=int, help="Of --data: only the held-out clips of this fold.")
@click.option("--rounds", type=click.IntRange(1), default=25, show_default=True, help="Turns of each model.")
@click.option(
    "--duration", type=click.FloatRange(0), default=0.0, show_default=True, help="Then s of each without a pause."
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
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
    help="local, ssh://[user@]host[:port] or adb://[serial]; several at once if repeated.",
)
@click.option("--app", is_flag=True, help="On an ADB target: the Android demo's own benchmark of a model that it has.")
@click.option("--python", default="python3", show_default=True, help="Python on a remote target.")
@click.option(
    "--torch/--no-torch", default=False, help="Run checkpoints on remote targets too; installs PyTorch there."
)
@click.option("--clean", is_flag=True, help="Remove the environment from an SSH target afterwards, too.")
@click.option(
    "--ssh-config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="As of ssh -F. [default: ssh's]"
)
@threads_option
@json_option
def command(
    models: tuple[str, ...],
    lengths: tuple[int, ...],
    data: Path | None,
    fold: int | None,
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
    """Measure MODELS (checkpoints, artefacts, bundles, models of the zoo) here or on other machines.

    Every model runs in a process of its own, and they take turns. The first checkpoint is what the others are compared
    with. A decision's time is that of the front end and the model; memory is the peak of a process that only loads and
    runs the model.

    A remote target needs Python 3.11 on a 64-bit system. Over SSH, the runtimes go to an environment under
    ~/.cache/edge-asc there; over ADB, its Python must have them, or --app has the installed Android demo measure the
    artefacts in it, on its own clips. With several targets, each result is named after its target. A target that is
    lost leaves a result marked incomplete, and exit code 2.
    """
    from edge_asc.errors import require

    require("edge_asc_bench", "bench")
    from edge_asc_bench.job import Settings
    from edge_asc_bench.measurement import bench
    from edge_asc_bench.targets import open_target

    line = shlex.join(["edge-asc", *sys.argv[1:]])
    if app:
        given = click.get_current_context().get_parameter_source
        others = [name.replace("_", "-") for name in NOT_OF_APP if given(name) is ParameterSource.COMMANDLINE]
        if len(targets) > 1 or len(models) > 1 or others:
            but = f"; not --{', --'.join(others)}" if others else ""
            raise click.UsageError(f"--app takes one model and one target{but}: clips and settings are in the app")
        result = _bench_app(targets[0], models[0], rounds, duration, line)
        _keep(result, output, as_json)
        _end([result], as_json)
        return
    if fold is not None and data is None:
        raise click.UsageError("--fold belongs to --data")
    if len(set(targets)) < len(targets):
        raise click.UsageError("a target is named twice")
    options = {"python": python, "torch": torch, "clean": clean, "ssh_config": ssh_config}
    places = [open_target(target, **options) for target in targets]
    output.parent.mkdir(parents=True, exist_ok=True)
    found = [entry for model in models for entry in files_of(model)]
    names, files = zip(*found, strict=True)
    found = [(name, Path(path)) for name, path in name_models(list(map(str, files)), names)]
    if len({name for name, _ in found}) < len(found):
        raise ContractError(f"two models are called alike: {', '.join(name for name, _ in found)}; leave one out")
    clips = clips_of(found[0][1], data, fold)
    paths = {
        place.name: output if len(places) == 1 else output.with_stem(f"{output.stem}-{_slug(place.name)}")
        for place in places
    }
    if len(set(paths.values())) < len(paths):
        raise click.UsageError("two targets would write the same file; measure them one after another")
    with progress() as bar:
        tasks = {place.name: bar.add_task("opening", total=1.0) for place in places}

        def tell(target: str, what: str, done: int, total: int) -> None:
            where = "" if len(places) == 1 else f"{target}: "
            bar.update(tasks[target], description=f"{where}{what}", completed=done, total=total)

        def finished(target: Target, result: dict[str, Any]) -> None:
            _keep(result, paths[target.name], as_json)

        settings = Settings(lengths, threads, rounds, duration)
        results = bench(found, clips, settings, places, command=line, progress=tell, finished=finished)
    _end(results, as_json)


def _bench_app(target: str, model: str, rounds: int, duration: float, line: str) -> dict[str, Any]:
    from edge_asc_bench.targets.app import bench_app

    with progress() as bar:
        task = bar.add_task("starting the app", total=1.0)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        return bench_app(target, model, rounds=rounds, duration=duration, command=line, progress=tell)


def _keep(result: dict[str, Any], path: Path, as_json: bool) -> None:
    """Write a result, and show it to people."""
    from edge_asc.files import write_json

    write_json(path, result)
    log.print(f"written to {path}")
    if not as_json:
        _show(result)


def _end(results: list[dict[str, Any]], as_json: bool) -> None:
    """Print results to machines, and end with an error if one is incomplete."""
    if as_json:
        print_json(results[0] if len(results) == 1 else results)
    if any(not result["complete"] for result in results):
        sys.exit(2)


def _show(result: dict[str, Any]) -> None:
    out.print(_table(result))
    if result["machine"]["emulated"]:
        log.print(f"emulated by {result['machine']['emulated']}: times and memory are not the device's, and left out")
    if not result["complete"]:
        log.print(f"incomplete: {result['incomplete']}")
    for variant in [] if result["machine"]["emulated"] else result["variants"]:
        for form, latency in variant["latency"].items():
            for doubt in latency["unstable"]:
                log.print(f"unstable: {variant['name']}, {_form(form)}: {doubt}")


def _slug(target: str) -> str:
    """A target's name as a part of a file's."""
    return re.sub(r"[^A-Za-z0-9.]+", "-", target.partition("://")[2] or target).strip("-") or target


def files_of(model: str) -> list[tuple[str, Path]]:
    """Name and path of a model; of every artefact of a bundle."""
    import json

    from edge_asc.manifest import MANIFEST
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import locate_model

    path = locate_model(model)
    if path is None:
        raise ContractError(f"{model}: no model there; expected a checkpoint, an artefact, a bundle or a zoo model")
    if (path / MANIFEST).is_file() and not is_checkpoint(path):
        try:
            names = json.loads((path / MANIFEST).read_text())["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(f"{path / MANIFEST}: damaged ({error!r}); export again") from error
        return [(name, path / name) for name in sorted(names)]
    return [(path.name, path)]


def clips_of(model: Path, data: Path | None, fold: int | None) -> Clips:
    """Labelled clips of a data set, or generated scenes, with the front end of a model."""
    import hashlib

    from edge_asc.engine import open_runtime
    from edge_asc.files import sha256
    from edge_asc_bench.measurement import Clips

    front_end = open_runtime(model).contract.front_end
    if data is None:
        from edge_asc.data.layouts.tau import TAU_LABELS
        from edge_asc.data.scenes import VERSION, generate_scene
        from edge_asc.frontend import LogMel

        raw = LogMel(front_end.raw)
        scenes = [generate_scene(label, seed, 10) for label in TAU_LABELS for seed in range(SCENES)]
        # What they are made of: their samples differ in the last bit from one processor to another.
        digest = hashlib.sha256(repr((VERSION, TAU_LABELS, SCENES)).encode()).hexdigest()
        return Clips("generated", [raw(scene) for scene in scenes], (), (), digest)
    from edge_asc.data.recordings import Recordings

    recordings = Recordings.open(data, fold)
    dataset = recordings.dataset
    listed = "".join(f"{sha256(dataset.path(clip))} {clip.label}\n" for clip in recordings.clips)
    digest = hashlib.sha256(listed.encode()).hexdigest()
    features = recordings.features(front_end)
    return Clips(dataset.name, features, dataset.labels, tuple(recordings.targets), digest)


def _form(form: str) -> str:
    return form if form == "step" else f"window of {form} s"


def _table(result: dict[str, Any]) -> Table:
    machine, data, threads = result["machine"], result["data"], result["settings"]["threads"]
    heard = f"{data['clips']} clips of {data['name']}"
    where = f"{machine['cpu']}, {machine['architecture']}"
    title = f"{result['made']['target']}: {where}, {threads} thread(s); {heard}"
    table = Table(title=title, title_justify="left")
    for name in ("model", "form"):
        table.add_column(name, overflow="fold")
    for name in ("p50 ms", "p99 ms", "front end", "model", "real time", "cold ms", "peak MB", "KB"):
        table.add_column(name, justify="right")
    for name in ("accuracy %", "agreement"):
        table.add_column(name, justify="right")
    for variant in result["variants"]:
        size = f"{variant['bytes'] / 1000:.0f}"
        latencies = {} if machine["emulated"] else variant["latency"]
        if not latencies:
            table.add_row(variant["name"], "", *[""] * 7, size, *_quality(variant, "step"))
        for form, latency in latencies.items():
            times, memory = _times(latency), _memory(variant["memory"])
            table.add_row(variant["name"], _form(form), *times, memory, size, *_quality(variant, form))
    table.caption = "p50 of front end and model apart; peak resident set, and above the imported runtime"
    return table


def _times(latency: dict[str, Any]) -> tuple[str, ...]:
    front_end = latency["front_end"]
    return (
        f"{latency['total']['p50']:.2f}",
        f"{latency['total']['p99']:.2f}",
        "" if front_end is None else f"{front_end['p50']:.2f}",
        f"{latency['model']['p50']:.2f}",
        f"{latency['real_time_factor']:.4f}",
        f"{latency['cold_start_ms']:.0f}",
    )


def _memory(memory: dict[str, Any] | None) -> str:
    if memory is None or memory["peak"] is None:
        return ""
    return f"{memory['peak'] / 1e6:.0f} ({(memory['peak'] - memory['imported']) / 1e6:+.0f})"


def _quality(variant: dict[str, Any], form: str) -> tuple[str, str]:
    """Accuracy at the longest length, or at that of the window whose row it is, and agreement."""
    from edge_asc_bench.result import accuracy_at, agreement

    share, accuracy = agreement(variant), ""
    if row := accuracy_at(variant, form):
        accuracy = f"{100 * row['accuracy']:.1f} at {row['seconds']} s"
    return accuracy, "" if share is None else f"{share:.4f}"
