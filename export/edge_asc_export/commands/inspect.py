"""`edge-asc inspect`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.errors import ContractError, MissingExtraError


@click.command("inspect", short_help="Show what an artefact or a checkpoint is, and what it costs.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option(
    "--against",
    help="Checkpoint or zoo model that an integer artefact was exported from: list its layers by signal to "
    "quantisation noise, and the decisions that differ.",
)
@click.option(
    "--data",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="With --against: data set in TAU layout to compare on [default: generated scenes].",
)
@click.option("--fold", type=int, help="Of --data: only the held-out clips of this fold.")
@click.option(
    "--clips",
    "most",
    default=40,
    show_default=True,
    type=click.IntRange(1),
    help="With --against: at most so many clips, evenly spaced.",
)
@json_option
def command(model: Path, against: str | None, data: Path | None, fold: int | None, most: int, as_json: bool) -> None:
    """Show what MODEL is: an artefact (.onnx, .tflite), a bundle, a checkpoint folder, or a model of the zoo.

    Of an artefact, or the one of a bundle that runs here: contract, size and operations, what is delegated, and what
    stayed float. Of a checkpoint: parameters, multiply-accumulates, cache and receptive field.

    With --against, where an integer artefact leaves its float model. The plan is read from the manifest beside the
    artefact, or from the checkpoint.
    """
    if data is not None and against is None:
        raise click.UsageError("--data belongs to --against")
    if fold is not None and data is None:
        raise click.UsageError("--fold belongs to --data")
    from edge_asc.engine import preferred_artefact
    from edge_asc.manifest import MANIFEST
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import locate_model

    folder = locate_model(model)
    if against is not None:
        artefact = preferred_artefact(model) if (model / MANIFEST).is_file() else model
        if artefact.suffix not in (".onnx", ".tflite") or not artefact.is_file():
            raise ContractError(f"{model}: not an artefact; --against compares an integer one with its checkpoint")
        _compare(artefact, against, data, fold, most, as_json=as_json)
    elif folder is not None and is_checkpoint(folder):
        _inspect_checkpoint(folder, as_json=as_json)
    elif model.suffix in (".onnx", ".tflite") and model.is_file():
        _inspect_artefact(model, as_json=as_json)
    elif (model / MANIFEST).is_file():
        _inspect_artefact(preferred_artefact(model), as_json=as_json)
    else:
        raise ContractError(f"{model}: not an artefact (.onnx or .tflite file), a bundle, a checkpoint or a zoo model")


def _inspect_checkpoint(folder: Path, *, as_json: bool) -> None:
    from edge_asc.models.complexity import complexity
    from edge_asc.training.checkpoint import Checkpoint

    checkpoint = Checkpoint.load(folder)
    config, cost = checkpoint.model.config, complexity(checkpoint.model)
    if as_json:
        facts = {"file": str(folder), "name": checkpoint.name, "model": config.to_json(), "labels": checkpoint.labels}
        print_json({**facts, "complexity": cost.to_json(), "training": checkpoint.training})
        return
    rows = [
        ("model", f"{checkpoint.name}: {config.form} {config.backbone}, {config.head} head, {config.output} output"),
        ("parameters", f"{cost.parameters:,}; {cost.parameters_deployed:,} at inference"),
        *((f"{seconds} s window", _millions(macs)) for seconds, macs in cost.macs_windows.items()),
        ("labels", ", ".join(checkpoint.labels)),
        ("trained on", _trained_on(checkpoint.training)),
    ]
    if cost.macs_step is not None:
        rows.insert(2, ("step of 8 frames", f"{_millions(cost.macs_step)}; {cost.cache_floats:,} cached values"))
    if cost.receptive_field is not None:
        rows.append(("receptive field", f"{cost.receptive_field} frames"))
    out.print(_fact_table(checkpoint.name, rows))


def _inspect_artefact(artefact: Path, *, as_json: bool) -> None:
    from edge_asc.engine import open_runtime

    runtime = open_runtime(artefact)
    found = _graph(artefact)
    size = artefact.stat().st_size
    if as_json:
        facts = {"file": str(artefact), "bytes": size, "engine": runtime.engine}
        print_json({**facts, "graph": found, "contract": runtime.contract.to_json()})
        return
    out.print(_fact_table(artefact.name, _facts(runtime.contract, size, runtime.engine, found)))
    for signature in runtime.contract.signatures:
        out.print(_tensors(signature))


SHOWN = 20


def _compare(artefact: Path, against: str, data: Path | None, fold: int | None, most: int, *, as_json: bool) -> None:
    from edge_asc.engine import open_runtime
    from edge_asc.errors import require
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc.zoo import locate_model

    require("torch", "export")
    require("edge_asc_export", "export")
    from edge_asc_export.bundle import plan_of
    from edge_asc_export.divergence import diverge

    folder = locate_model(against)
    if folder is None:
        raise ContractError(f"{against}: no such checkpoint or zoo model")
    checkpoint, runtime = Checkpoint.load(folder), open_runtime(artefact)
    names, features = _clips(checkpoint.front_end, data, fold, most)
    with log.status("streaming"):
        found = diverge(checkpoint, plan_of(artefact, checkpoint), runtime, features)
    if as_json:
        print_json({"file": str(artefact), "against": str(folder), "clips": names, **found.to_json()})
        return
    table = Table(title="layers, noisiest first: signal to quantisation noise, dB", title_justify="left")
    for name, justify in (("tensor", "left"), ("operation", "left"), ("in all", "right"), ("its own", "right")):
        table.add_column(name, justify=justify, overflow="fold")  # type: ignore[arg-type]
    table.add_column("grid step", justify="right")
    table.add_column("clipped", justify="right")
    for layer in sorted(found.layers, key=lambda layer: layer.signal_to_noise)[:SHOWN]:
        scale = "float" if layer.scale is None else f"{layer.scale:.3g}"
        own = f"{layer.own:.1f}" if layer.scale is not None else ""
        clipped = f"{100 * layer.clipped:.2g} %" if layer.clipped else ""
        table.add_row(layer.tensor, layer.operation, f"{layer.signal_to_noise:.1f}", own, scale, clipped)
    out.print(table)
    flips = Table(title="decisions that differ, step by step", title_justify="left")
    for name in ("clip", "at, s", "float PyTorch", artefact.name):
        flips.add_column(name, overflow="fold")
    flips.add_column("float margin", justify="right")
    for flip in found.flips[:SHOWN]:
        flips.add_row(names[flip.clip], f"{flip.seconds:g}", flip.expected, flip.found, f"{flip.margin:.3f}")
    if found.flips:
        out.print(flips)
    if len(found.flips) > SHOWN:
        out.print(f"and {len(found.flips) - SHOWN} more; --json lists all")
    out.print(
        f"{len(found.flips)} of {found.steps} steps differ: agreement {found.agreement:.4f}; the median margin of all "
        f"steps is {found.margin:.2f}. The layers are those of the float64 simulation, with which the artefact agrees "
        f"on {found.simulated_agreement:.4f} of the steps."
    )


def _clips(front_end: Any, data: Path | None, fold: int | None, most: int) -> tuple[list[str], list[Any]]:
    """Names and raw log-mel of at most `most` clips, evenly spaced over the data set; of generated scenes without."""
    if data is None:
        from edge_asc.frontend import LogMel
        from edge_asc_export.parity import scenes

        raw = LogMel(front_end.raw)
        clips = scenes()[:most]
        return [f"generated scene {i + 1}" for i in range(len(clips))], [raw(clip) for clip in clips]
    from edge_asc.data.recordings import Recordings
    from edge_asc_export.calibration import evenly

    recordings = Recordings.open(data, fold)
    recordings = replace(recordings, clips=tuple(evenly(recordings.clips, most)))
    return [clip.filename for clip in recordings.clips], list(recordings.features(front_end))


def _fact_table(title: str, rows: list[tuple[str, str]]) -> Table:
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in rows:
        table.add_row(name, escape(text))
    return table


def _trained_on(training: dict[str, Any]) -> str:
    return f"{training['clips']} clips of {training['data']}" if training else "not recorded"


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.2f} M multiply-accumulates"


def _graph(artefact: Path) -> dict[str, Any] | None:
    try:
        from edge_asc_export.inspection import inspect

        return inspect(artefact).to_json()
    except MissingExtraError as error:
        log.print(f"operations are not shown: {error}")
        return None


def _facts(contract: Any, size: int, engine: str, found: dict[str, Any] | None) -> list[tuple[str, str]]:
    front_end, provenance = contract.front_end, contract.provenance
    state = sum(_bytes(spec) for s in contract.signatures[:1] for spec in s.states())
    rows = [
        ("model", f"{contract.name}: {contract.form} {contract.backbone}, {contract.output} output"),
        ("size", f"{size:,} bytes; {contract.parameters:,} parameters; {state:,} bytes of state a stream"),
        (
            "cost",
            ", ".join(f"{name} {_millions(macs)}" for name, macs in contract.macs.items()),
        ),
        ("labels", ", ".join(contract.labels)),
        (
            "front end",
            f"{front_end.sample_rate} Hz, window {front_end.window}, hop {front_end.hop}, {front_end.mels} mel bins",
        ),
        (
            "decision",
            "running mean of log-softmax since reset" if contract.decision == "mean" else "last output",
        ),
        ("quantisation", contract.scheme),
        ("in float", provenance.float_parts),
        (
            "made with",
            ", ".join(f"{k} {v}" for k, v in {"edge-asc": provenance.edge_asc, **provenance.tools}.items()),
        ),
        ("runs in", engine),
    ]
    if parity := contract.measured.parity:
        rows.append(
            (
                "against PyTorch",
                f"agreement {parity.agreement:.4f}, max logit error {parity.max_error:.2g} "
                f"over {parity.steps} steps ({parity.audio})",
            )
        )
    if found:
        for name, operations in found["operations"].items():
            rows.append((f"operations of {name}", ", ".join(f"{count} {op}" for op, count in operations.items())))
            if found["float_operations"][name]:
                rows.append((f"float in {name}", ", ".join(found["float_operations"][name])))
        if found["partitions"] is not None:
            rows.append(("XNNPACK", f"{found['partitions']} partition(s), {found['outside']} operations outside"))
    return rows


def _bytes(spec: Any) -> int:
    import numpy as np

    return int(np.prod(spec.shape) * np.dtype(spec.dtype).itemsize)


def _tensors(signature: Any) -> Table:
    title = f"signature {signature.name}"
    if signature.frames:
        title += f": {signature.frames} frames, {signature.samples} samples"
    table = Table(title=title, title_justify="left")
    for name in ("", "tensor", "role", "shape", "type", "scale, zero point", "feeds"):
        table.add_column(name, overflow="fold")
    for side, specs in (("in", signature.inputs), ("out", signature.outputs)):
        for spec in specs:
            grid = f"{spec.quantisation.scale:.6g}, {spec.quantisation.zero_point}" if spec.quantisation else ""
            shape = " x ".join(map(str, spec.shape))
            table.add_row(side, spec.name, spec.role, shape, spec.dtype, grid, spec.feeds or "")
    return table
