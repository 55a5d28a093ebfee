"""`edge-asc export`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.zoo import DEFAULT

if TYPE_CHECKING:
    from edge_asc.data.recordings import Recordings
    from edge_asc_export.bundle import Job
    from edge_asc_export.scheme import Scheme
    from edge_asc_export.selection import Attempt


@click.command("export", short_help="Write streaming artefacts, proven against PyTorch.")
@click.argument("checkpoint", default=DEFAULT)
@click.option(
    "--quantize",
    "scheme",
    default="none",
    show_default=True,
    help="none, fp16, int8-dynamic, int8, int8-float-gru, int16x8, a JSON file, or auto: the smallest and fastest that "
    "keeps its accuracy on --data.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "tflite"]),
    multiple=True,
    help="May be repeated; by default all that can express the scheme.",
)
@click.option("--window", "windows", type=click.IntRange(1, 10), multiple=True, help="Length, s, of a windowed model.")
@click.option(
    "--calibration",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set in TAU layout to record activation ranges on, instead of the checkpoint's own.",
)
@click.option(
    "--ranges",
    type=click.Choice(["auto", "minmax", "percentile", "mse"]),
    help="How --calibration chooses ranges [default: auto, the method nearest to float].",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set in TAU layout on which accuracy by length is measured, beside float PyTorch.",
)
@click.option("--fold", type=int, help="Of --data: only the held-out clips of this fold.")
@click.option(
    "--max-drop", type=click.FloatRange(0), default=0.5, show_default=True, help="With auto: points of accuracy."
)
@click.option("--print-scheme", is_flag=True, help="Print the scheme as JSON and write nothing.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder [default: build/NAME-SCHEME].")
@json_option
def command(
    checkpoint: str,
    scheme: str,
    formats: tuple[str, ...],
    windows: tuple[int, ...],
    calibration: Path | None,
    ranges: str | None,
    data: Path | None,
    fold: int | None,
    max_drop: float,
    print_scheme: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write CHECKPOINT (a folder, or a model of the zoo) as streaming ONNX and TFLite artefacts.

    Every artefact is streamed in its own runtime against float PyTorch before it is put in place; a float artefact
    that differs is an error and leaves no file. The table gives agreement of decisions, errors of the logits and size.
    """
    from edge_asc.errors import ContractError, require
    from edge_asc.zoo import locate_model, zoo

    require("torch", "export")
    require("edge_asc_export", "export")
    from edge_asc_export import bundle
    from edge_asc_export.artefact import FORMATS, label
    from edge_asc_export.scheme import SCHEMES, find_scheme

    if scheme == "auto" and data is None:
        raise click.UsageError("--quantize auto needs --data DIR, labelled clips to measure accuracy on")
    if ranges and calibration is None:
        raise click.UsageError("--ranges belongs to --calibration DIR; the checkpoint's own ranges are chosen already")
    chosen = SCHEMES["none"] if scheme == "auto" else find_scheme(scheme)
    if fold is not None and data is None:
        raise click.UsageError("--fold belongs to --data")
    if calibration and scheme != "auto" and not chosen.static:
        raise click.UsageError(f"{chosen.name} has no activation ranges to record; leave --calibration out")
    if print_scheme:
        if scheme == "auto":
            raise click.UsageError("auto is no scheme; it tries several")
        print_json(chosen.to_json())
        return
    wanted: Any = formats or (FORMATS if scheme == "auto" else chosen.formats)
    bundle.exportable(wanted)
    folder = locate_model(checkpoint)
    if folder is None:
        raise ContractError(f"{checkpoint}: no such checkpoint; expected a folder or one of {', '.join(zoo())}")
    recordings = None
    if data is not None:
        from edge_asc.data.recordings import Recordings

        recordings = Recordings.open(data, fold)
    attempts: list[Any] = []
    with log.status("exporting") as status:
        recorded = None
        if calibration is not None:
            method: Any = ranges or "auto"
            recorded = bundle.record_plan(folder, calibration, method=method, progress=status.update)
            for warning in recorded["provenance"]["warnings"]:
                log.print(f"warning: {warning}")
        job = bundle.Job(folder, chosen, wanted, windows, recorded)
        if scheme == "auto" and recordings is not None:
            chosen, attempts = _selected(job, recordings, max_drop, status.update)
            job = replace(job, scheme=chosen)
        output = output or Path("build") / f"{folder.name}-{label(chosen)}"
        manifest = bundle.export(job, output, progress=status.update)
    results = []
    if recordings is not None:
        from edge_asc.evaluation.models import measure_models, open_models

        models = (str(folder), *(str(output / name) for name in manifest["files"]))
        results = measure_models(recordings, models, open_models(models), range(1, 11))
    if as_json:
        tried = [attempt.to_json() for attempt in attempts]
        accuracy = [result.to_json() for result in results]
        print_json({"output": str(output), **manifest, "tried": tried, "accuracy": accuracy})
        return
    if attempts:
        out.print(_tried(attempts))
        out.print(f"chosen: {chosen.name}")
    out.print(_table(manifest))
    out.print(_by_length(manifest))
    if results:
        from edge_asc.cli.tables import accuracy_table

        out.print(accuracy_table(results))
    out.print(f"written to {output}")


def _selected(
    job: Job, recordings: Recordings, max_drop: float, progress: Callable[[str], None]
) -> tuple[Scheme, list[Attempt]]:
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc_export.selection import select

    features = recordings.features(Checkpoint.load(job.checkpoint).front_end)
    labels, lengths = recordings.dataset.labels, tuple(range(1, 11))
    return select(job, features, recordings.targets, labels, lengths, max_drop, progress=progress)


def _tried(attempts: list[Attempt]) -> Table:
    table = Table(title="schemes tried; milliseconds are this machine's", title_justify="left")
    lengths = list(attempts[0].reference)
    for name in ("scheme", "artefact"):
        table.add_column(name, overflow="fold")
    for seconds in lengths:
        table.add_column("all steps" if seconds == "all" else f"{seconds} s", justify="right")
    for name in ("agreement", "KB", "ms a step"):
        table.add_column(name, justify="right")
    table.add_column("holds", overflow="fold")
    table.add_row("", "float PyTorch", *(f"{100 * share:.1f}" for share in attempts[0].reference.values()))
    for found in attempts:
        measured = (found.accuracy.get(seconds) for seconds in lengths)
        shares = ("" if share is None else f"{100 * share:.1f}" for share in measured)
        ms = "" if found.step_ms is None else f"{found.step_ms:.2f}"
        size = f"{found.size / 1000:.0f}"
        verdict = "yes" if found.holds else found.reason
        table.add_row(found.scheme, found.artefact, *shares, f"{found.agreement:.4f}", size, ms, verdict)
    return table


def _by_length(manifest: dict[str, Any]) -> Table:
    parities = {name: entry["contract"]["measured"]["parity"] for name, entry in manifest["files"].items()}
    lengths = sorted({int(s) for found in parities.values() for s in found["agreement_by_length"]})
    table = Table(title="agreement of decisions at each length, s", title_justify="left")
    table.add_column("artefact", overflow="fold")
    for seconds in lengths:
        table.add_column(str(seconds), justify="right")
    for name, found in parities.items():
        shares = (found["agreement_by_length"].get(str(s)) for s in lengths)
        table.add_row(name, *("" if share is None else f"{share:.2f}" for share in shares))
    return table


def _table(manifest: dict[str, Any]) -> Table:
    first = next(iter(manifest["files"].values()))["contract"]["measured"]["parity"]
    table = Table(title=f"against float PyTorch: {first['steps']} steps, {first['audio']}", title_justify="left")
    table.add_column("artefact", overflow="fold")
    for name in ("engine", "KB", "agreement", "max logit error", "mean", "drift: first / last quarter"):
        table.add_column(name, justify="right")
    for name, entry in manifest["files"].items():
        found = entry["contract"]["measured"]["parity"]
        table.add_row(
            name,
            entry["engine"],
            f"{entry['bytes'] / 1000:.0f}",
            f"{found['agreement']:.4f}",
            f"{found['max_error']:.2g}",
            f"{found['mean_error']:.2g}",
            f"{found['max_error_first']:.2g} / {found['max_error_last']:.2g}",
        )
    return table
