"""`edge-asc bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

import edge_asc
from edge_asc.cli.console import Lengths, json_option, log, out, print_json, progress, threads_option
from edge_asc.errors import ContractError

if TYPE_CHECKING:
    from edge_asc_bench.local import Clips

SCENES = 2


@click.command("bench", short_help="Latency, memory and accuracy of models here, side by side.")
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
    threads: int,
    as_json: bool,
) -> None:
    """Measure MODELS (checkpoints, artefacts, bundles, models of the zoo) on this machine.

    Every model runs in a process of its own, and they take turns. The first checkpoint is what the others are compared
    with. A decision's time is that of the front end and the model; memory is the peak of a process that only loads and
    runs the model.
    """
    from edge_asc.errors import require

    require("edge_asc_bench", "bench")
    from edge_asc.files import write_json
    from edge_asc_bench.local import Settings, bench

    if fold is not None and data is None:
        raise click.UsageError("--fold belongs to --data")
    output.parent.mkdir(parents=True, exist_ok=True)
    found = [entry for model in models for entry in _files(model)]
    if len({name for name, _ in found}) < len(found):
        raise ContractError(f"two models are called alike: {', '.join(name for name, _ in found)}; leave one out")
    clips = _clips(found[0][1], data, fold)
    with progress() as bar:
        task = bar.add_task("opening", total=1.0)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        result = bench(found, clips, Settings(lengths, threads, rounds, duration), progress=tell)
    write_json(output, result)
    if as_json:
        print_json(result)
        return
    out.print(_table(result))
    for variant in result["variants"]:
        for form, latency in variant["latency"].items():
            for doubt in latency["unstable"]:
                log.print(f"unstable: {variant['name']}, {_form(form)}: {doubt}")
    log.print(f"written to {output}")


def _files(model: str) -> list[tuple[str, Path]]:
    """Name and path of a model; of every artefact of a bundle."""
    import json

    from edge_asc.runtimes import MANIFEST
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import located

    path = located(model)
    if path is None:
        raise ContractError(f"{model}: no model there; expected a checkpoint, an artefact, a bundle or a zoo model")
    if (path / MANIFEST).is_file() and not is_checkpoint(path):
        try:
            names = json.loads((path / MANIFEST).read_text())["files"]
        except (ValueError, KeyError, TypeError) as error:
            raise ContractError(f"{path / MANIFEST}: damaged ({error!r}); export again") from error
        return [(name, path / name) for name in sorted(names)]
    return [(path.name, path)]


def _clips(model: Path, data: Path | None, fold: int | None) -> Clips:
    import hashlib

    from edge_asc.files import sha256
    from edge_asc.runtimes import open_runtime
    from edge_asc_bench.local import Clips

    front_end = open_runtime(model).contract.front_end
    if data is None:
        from edge_asc.data.dataset import TAU_LABELS
        from edge_asc.data.scenes import generate_scene
        from edge_asc.frontend import LogMel

        raw = LogMel(front_end.raw)
        scenes = [generate_scene(label, seed, 10) for label in TAU_LABELS for seed in range(SCENES)]
        # What they are made of: their samples differ in the last bit from one processor to another.
        digest = hashlib.sha256(repr((edge_asc.__version__, TAU_LABELS, SCENES)).encode()).hexdigest()
        return Clips("generated", [raw(scene) for scene in scenes], (), (), digest)
    from edge_asc.cli.recordings import Recordings

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
    title = f"{machine['cpu']}, {machine['architecture']}, {threads} thread(s); {heard}"
    table = Table(title=title, title_justify="left")
    for name in ("model", "form"):
        table.add_column(name, overflow="fold")
    for name in (
        "p50 ms",
        "p99 ms",
        "front end",
        "model",
        "real time",
        "cold ms",
        "peak MB",
        "KB",
        "accuracy %",
        "agreement",
    ):
        table.add_column(name, justify="right")
    for variant in result["variants"]:
        peak, imported = variant["memory"]["peak"], variant["memory"]["imported"]
        memory = "" if peak is None else f"{peak / 1e6:.0f} ({(peak - imported) / 1e6:+.0f})"
        for form, latency in variant["latency"].items():
            table.add_row(
                variant["name"],
                _form(form),
                f"{latency['total']['p50']:.2f}",
                f"{latency['total']['p99']:.2f}",
                f"{latency['front_end']['p50']:.2f}",
                f"{latency['model']['p50']:.2f}",
                f"{latency['real_time_factor']:.4f}",
                f"{latency['cold_start_ms']:.0f}",
                memory,
                f"{variant['bytes'] / 1000:.0f}",
                *_quality(variant),
            )
    table.caption = "p50 of front end and model apart; peak resident set, and above the imported runtime"
    return table


def _quality(variant: dict[str, Any]) -> tuple[str, str]:
    from edge_asc_bench.result import agreement

    share, accuracy = agreement(variant), ""
    if variant["accuracy"]:
        longest = variant["accuracy"]["lengths"][-1]
        accuracy = f"{100 * longest['accuracy']:.1f} at {longest['seconds']} s"
    return accuracy, "" if share is None else f"{share:.4f}"
