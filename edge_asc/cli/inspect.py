"""`edge-asc inspect`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from rich.table import Table

from edge_asc.cli.console import json_option, log, out, print_json
from edge_asc.errors import ContractError, MissingExtraError


@click.command("inspect", short_help="Show the contract, size and operations of an artefact.")
@click.argument("artefact", type=click.Path(path_type=Path))
@json_option
def command(artefact: Path, as_json: bool) -> None:
    """Show the contract of ARTEFACT, its size, its operations, what is delegated, and what stayed float."""
    from edge_asc.runtimes import open_runtime

    if artefact.suffix not in (".onnx", ".tflite") or not artefact.is_file():
        raise ContractError(f"{artefact}: not an artefact; expected an .onnx or .tflite file")
    runtime = open_runtime(artefact)
    found = _graph(artefact)
    size = artefact.stat().st_size
    if as_json:
        facts = {"file": str(artefact), "bytes": size, "engine": runtime.engine}
        print_json({**facts, "graph": found, "contract": runtime.contract.to_json()})
        return
    contract = runtime.contract
    table = Table(show_header=False, title=artefact.name, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in _facts(contract, size, runtime.engine, found):
        table.add_row(name, text)
    out.print(table)
    for signature in contract.signatures:
        out.print(_tensors(signature))


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
            ", ".join(f"{name} {macs / 1e6:.2f} M multiply-accumulates" for name, macs in contract.macs.items()),
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
