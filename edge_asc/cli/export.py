"""`edge-asc export`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.zoo import DEFAULT


@click.command("export", short_help="Write streaming artefacts, proven against PyTorch.")
@click.argument("checkpoint", default=DEFAULT)
@click.option(
    "--quantize",
    "scheme",
    type=click.Choice(["none", "fp16", "int8-dynamic", "int8"]),
    default="none",
    show_default=True,
    help="int8: weights and activations, from the ranges that the checkpoint carries.",
)
@click.option(
    "--format",
    "formats",
    type=click.Choice(["onnx", "tflite"]),
    multiple=True,
    help="May be repeated; both by default.",
)
@click.option("--window", "windows", type=click.IntRange(1, 10), multiple=True, help="Length, s, of a windowed model.")
@click.option(
    "--calibration",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set in TAU layout to record activation ranges on, instead of the checkpoint's own.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Data set in TAU layout on which accuracy by length is measured, beside float PyTorch.",
)
@click.option("--fold", type=int, help="Of --data: only the held-out clips of this fold.")
@click.option("--output", type=click.Path(file_okay=False, path_type=Path), help="Folder [default: build/NAME-SCHEME].")
@json_option
def command(
    checkpoint: str,
    scheme: str,
    formats: tuple[str, ...],
    windows: tuple[int, ...],
    calibration: Path | None,
    data: Path | None,
    fold: int | None,
    output: Path | None,
    as_json: bool,
) -> None:
    """Write CHECKPOINT (a folder, or a model of the zoo) as streaming ONNX and TFLite artefacts.

    Every artefact is streamed in its own runtime against float PyTorch before it is put in place; a float artefact
    that differs is an error and leaves no file. The table gives agreement of decisions, errors of the logits and size.
    """
    from edge_asc.errors import ContractError, require
    from edge_asc.zoo import zoo, zoo_path

    require("torch", "export")
    require("edge_asc_export", "export")
    from edge_asc_export import bundle

    chosen: Any = formats or ("onnx", "tflite")
    bundle.exportable(chosen)
    folder = Path(checkpoint) if Path(checkpoint).exists() else zoo_path(checkpoint)
    if folder is None:
        raise ContractError(f"{checkpoint}: no such checkpoint; expected a folder or one of {', '.join(zoo())}")
    output = output or Path("build") / f"{folder.name}-{'float' if scheme == 'none' else scheme}"
    with log.status("exporting") as status:
        recorded = None
        if calibration is not None:
            recorded = bundle.record_ranges(folder, calibration, progress=status.update)
        job = bundle.Job(folder, scheme, chosen, windows, recorded)  # type: ignore[arg-type]
        manifest = bundle.export(job, output, progress=status.update)
    results = []
    if data is not None:
        from edge_asc.cli.evaluate import measured

        models = (str(folder), *(str(output / name) for name in manifest["files"]))
        results = measured(data, models, tuple(range(1, 11)), fold=fold)
    if as_json:
        print_json({"output": str(output), **manifest, "accuracy": [result.to_json() for result in results]})
        return
    out.print(_table(manifest))
    out.print(_by_length(manifest))
    if results:
        from edge_asc.evaluation.report import table

        out.print(table(results))
    out.print(f"written to {output}")


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
