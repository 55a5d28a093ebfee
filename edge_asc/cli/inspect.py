"""`edge-asc inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.errors import ContractError, MissingExtraError


@click.command("inspect", short_help="Show what an artefact or a checkpoint is, and what it costs.")
@click.argument("model", type=click.Path(path_type=Path))
@json_option
def command(model: Path, as_json: bool) -> None:
    """Show what MODEL is: an artefact (.onnx, .tflite), a bundle, a checkpoint folder, or a model of the zoo.

    Of an artefact, or the one of a bundle that runs here: contract, size and operations, what is delegated, and what
    stayed float. Of a checkpoint: parameters, multiply-accumulates, cache and receptive field.
    """
    from edge_asc.runtimes import MANIFEST
    from edge_asc.runtimes.opening import preferred
    from edge_asc.training.checkpoint import is_checkpoint
    from edge_asc.zoo import zoo_path

    folder = model if model.exists() else zoo_path(str(model))
    if folder is not None and is_checkpoint(folder):
        _inspect_checkpoint(folder, as_json=as_json)
    elif model.suffix in (".onnx", ".tflite") and model.is_file():
        _inspect_artefact(model, as_json=as_json)
    elif (model / MANIFEST).is_file():
        _inspect_artefact(preferred(model), as_json=as_json)
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
    from edge_asc.runtimes import open_runtime

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
        ("in float", str(provenance.get("float"))),
        (
            "made with",
            ", ".join(
                f"{k} {v}" for k, v in {"edge-asc": provenance.get("edge_asc"), **provenance.get("tools", {})}.items()
            ),
        ),
        ("runs in", engine),
    ]
    if parity := contract.measured.get("parity"):
        rows.append(
            (
                "against PyTorch",
                f"agreement {parity['agreement']:.4f}, max logit error {parity['max_error']:.2g} "
                f"over {parity['steps']} steps ({parity['audio']})",
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
