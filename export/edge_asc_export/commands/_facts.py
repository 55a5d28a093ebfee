"""The tables of `edge-asc inspect`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from edge_asc.contract import Signature, StreamContract, TensorSpec
from edge_asc.runtime import Runtime
from edge_asc.text import count_noun
from edge_asc_export.operations import Inspection

if TYPE_CHECKING:
    from edge_asc.models.complexity import Complexity
    from edge_asc.training.checkpoint import Checkpoint
    from edge_asc_export.divergence import Flip, Layer

Fact = tuple[str, str]

SHOWN = 20
INPUTS = {
    "features": "log-mel features",
    "samples": "samples, float in [-1, 1]; the front end is inside",
    "int16": "samples, int16; the front end is inside",
}


def fact_table(title: str, facts: Sequence[Fact]) -> Table:
    """Return a table of names and texts."""
    table = Table(show_header=False, title=title, title_justify="left")
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, text in facts:
        table.add_row(name, text)
    return table


def checkpoint_facts(checkpoint: Checkpoint, cost: Complexity) -> list[Fact]:
    """Return what a checkpoint is and costs."""
    config, training = checkpoint.model.config, checkpoint.training
    facts = [
        ("model", f"{checkpoint.name}: {config.form} {config.backbone}, {config.head} head, {config.output} output"),
        ("parameters", f"{cost.parameters:,}; {cost.parameters_deployed:,} at inference"),
    ]
    if cost.macs_step is not None:
        facts.append(("step of 8 frames", f"{_millions(cost.macs_step)}; {cost.cache_floats:,} cached values"))
    facts += [(f"{seconds} s window", _millions(macs)) for seconds, macs in cost.macs_windows.items()]
    facts.append(("labels", ", ".join(checkpoint.labels)))
    clips = f"{training['clips']} clips of {training['data']}" if training else "not recorded"
    facts.append(("trained on", clips))
    if cost.receptive_field is not None:
        facts.append(("receptive field", f"{cost.receptive_field} frames"))
    return facts


def artefact_facts(runtime: Runtime, size: int, inspection: Inspection | None) -> list[Fact]:
    """Return what an artefact of `size` bytes is and costs."""
    contract = runtime.contract
    front_end, provenance = contract.front_end, contract.provenance
    state = sum(_bytes(spec) for s in contract.signatures[:1] for spec in s.states())
    tools = {"edge-asc": provenance.edge_asc, **provenance.tools}
    mean = contract.decision == "mean"
    return [
        ("model", f"{contract.name}: {contract.form} {contract.backbone}, {contract.output} output"),
        ("size", f"{size:,} bytes; {contract.parameters:,} parameters; {state:,} bytes of state a stream"),
        ("cost", ", ".join(f"{name} {_millions(macs)}" for name, macs in contract.macs.items())),
        ("labels", ", ".join(contract.labels)),
        (
            "front end",
            f"{front_end.sample_rate} Hz, window {front_end.window}, hop {front_end.hop}, {front_end.mels} mel bins",
        ),
        ("input", INPUTS[contract.input]),
        ("decision", "running mean of log-softmax since reset" if mean else "last output"),
        ("temperature", f"{contract.temperature:.3g}"),
        *_unknown_facts(contract),
        ("quantisation", contract.scheme),
        ("in float", provenance.float_parts),
        ("made with", ", ".join(f"{name} {version}" for name, version in tools.items())),
        ("runs in", runtime.engine),
        *_parity_facts(contract),
        *_adaptation_facts(contract),
        *(_operation_facts(inspection) if inspection else ()),
    ]


def _unknown_facts(contract: StreamContract) -> list[Fact]:
    rule = contract.unknown
    if rule is None:
        return []
    text = (
        f"where the probability of {rule.label} is at least {rule.threshold:.4g}: {100 * rule.false_alarm_rate:.3g} % "
        f"of known clips ({rule.measured_on})"
    )
    return [("unknown", text)]


def _parity_facts(contract: StreamContract) -> list[Fact]:
    parity = contract.measured.parity
    if parity is None:
        return []
    text = (
        f"agreement {parity.agreement:.4f}, max logit error {parity.max_error:.2g} over {parity.steps} steps "
        f"({parity.audio})"
    )
    facts = [("against PyTorch", text)]
    for level in contract.measured.levels:
        text = (
            f"features differ by {level.features_mean_error:.2g} on average, {level.features_max_error:.2g} at most; "
            f"agreement {level.agreement:.4f}, max logit error {level.max_error:.2g}"
        )
        facts.append((f"at {level.dbfs:g} dBFS", text))
    return facts


def _adaptation_facts(contract: StreamContract) -> list[Fact]:
    adaptation, measured = contract.provenance.adaptation, contract.measured.adapted
    if adaptation is None:
        return []
    text = f"from {adaptation.base}, a new output layer fitted on {adaptation.clips} clips of {adaptation.data}"
    if measured is not None and measured.held_out_clips:
        text += f"; {measured.held_out_right} of {measured.held_out_clips} held-out clips are right"
    return [("adapted", text)]


def _operation_facts(inspection: Inspection) -> list[Fact]:
    facts = []
    for name, operations in inspection.operations.items():
        facts.append((f"operations of {name}", ", ".join(f"{count} {op}" for op, count in operations.items())))
        if in_float := inspection.float_operations[name]:
            facts.append((f"float in {name}", ", ".join(in_float)))
    if inspection.partitions is not None:
        text = f"{count_noun(inspection.partitions, 'partition')}, {inspection.outside} operations outside"
        facts.append(("XNNPACK", text))
    return facts


def signature_table(signature: Signature) -> Table:
    """Return a table of the tensors of a signature."""
    title = f"signature {signature.name}"
    if signature.frames:
        title += f": {signature.frames} frames, {signature.samples} samples"
    table = Table(title=title, title_justify="left")
    for name in ("", "tensor", "role", "shape", "type", "scale, zero point", "feeds"):
        table.add_column(name, overflow="fold")
    for side, specs in (("in", signature.inputs), ("out", signature.outputs)):
        for spec in specs:
            qparams = f"{spec.quantisation.scale:.6g}, {spec.quantisation.zero_point}" if spec.quantisation else ""
            shape = " x ".join(map(str, spec.shape))
            table.add_row(side, spec.name, spec.role, shape, spec.dtype, qparams, spec.feeds or "")
    return table


def layer_table(layers: Sequence[Layer]) -> Table:
    """Return a table of the layers with the lowest SQNR."""
    table = Table(title="layers with the lowest SQNR (signal to quantisation noise), dB", title_justify="left")
    for name in ("tensor", "operation"):
        table.add_column(name, overflow="fold")
    for name in ("cumulative", "local", "scale", "clipped"):
        table.add_column(name, justify="right", overflow="fold")
    for layer in sorted(layers, key=lambda layer: layer.cumulative_sqnr)[:SHOWN]:
        scale, local = ("float", "") if layer.scale is None else (f"{layer.scale:.3g}", f"{layer.local_sqnr:.1f}")
        clipped = f"{100 * layer.clipped:.2g} %" if layer.clipped else ""
        table.add_row(layer.tensor, layer.operation, f"{layer.cumulative_sqnr:.1f}", local, scale, clipped)
    return table


def flip_table(flips: Sequence[Flip], clips: Sequence[str], artefact: str) -> Table:
    """Return a table of the first decisions that differ, with the names of their clips."""
    table = Table(title="decisions that differ, step by step", title_justify="left")
    for name in ("clip", "at, s", "float PyTorch", artefact):
        table.add_column(name, overflow="fold")
    table.add_column("float margin", justify="right")
    for flip in flips[:SHOWN]:
        table.add_row(clips[flip.clip], f"{flip.seconds:g}", flip.expected, flip.actual, f"{flip.margin:.3f}")
    if len(flips) > SHOWN:
        table.caption, table.caption_justify = f"and {len(flips) - SHOWN} more; --json lists all", "left"
    return table


def _millions(macs: int) -> str:
    return f"{macs / 1e6:.2f} M multiply-accumulates"


def _bytes(spec: TensorSpec) -> int:
    return int(np.prod(spec.shape) * np.dtype(spec.dtype).itemsize)
