"""Where an integer model leaves the float one: the error of each tensor, and the decisions that differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from edge_asc.contract import Affine
from edge_asc.errors import ExportError
from edge_asc.evaluation.logits import stream_logits
from edge_asc.frontend import Array, LogMel
from edge_asc.models import CRNN
from edge_asc.runtime import Runtime
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export import onnxruntime, xnnpack
from edge_asc_export.graph import Concat, Conv, Fold, Linear, Reshape, Slice, Unfold
from edge_asc_export.lowering import expand_gru, lower_step
from edge_asc_export.plan import Plan, digest
from edge_asc_export.simulation import Simulation


@dataclass(frozen=True)
class Layer:
    """How far a tensor of the integer model is from the float one.

    Attributes:
        tensor: its name in the export form.
        operation: what writes it.
        scale: of its grid; None where it is float.
        signal_to_noise: 10 log₁₀ of the energy of the float tensor over that of the difference, dB; the errors of all
            layers before it are in it.
        own: the same with its own rounding alone, dB; infinite where it is float.
        clipped: share of float values outside its grid.
    """

    tensor: str
    operation: str
    scale: float | None
    signal_to_noise: float
    own: float
    clipped: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object; None for infinite."""
        return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Flip:
    """A step at which the artefact decides otherwise than float PyTorch.

    Attributes:
        clip: index.
        seconds: since the start of the clip.
        expected, found: labels.
        margin: how far the logit decided for in float lay above the one that the artefact took.
    """

    clip: int
    seconds: float
    expected: str
    found: str
    margin: float


@dataclass(frozen=True)
class Divergence:
    """An artefact against its float model.

    Attributes:
        layers: in the order of computation.
        flips: in the order of the clips.
        steps: decisions compared, each by its step's own logits.
        agreement: share of equal ones.
        simulated_agreement: share of decisions of the artefact that equal those of the simulation the layers are from.
        margin: median over all steps between the best and the second logit in float: what a flip's margin compares to.
    """

    layers: tuple[Layer, ...]
    flips: tuple[Flip, ...]
    steps: int
    agreement: float
    simulated_agreement: float
    margin: float

    def to_json(self) -> dict[str, Any]:
        """A JSON object."""
        return {
            **asdict(self),
            "layers": [layer.to_json() for layer in self.layers],
            "flips": [asdict(flip) for flip in self.flips],
        }


def diverge(checkpoint: Checkpoint, plan: Plan, artefact: Runtime, features: Sequence[Array]) -> Divergence:
    """Compare an integer artefact with its float model, decision by decision and tensor by tensor.

    Tensors are those of the float64 simulation of the plan, which the artefact follows up to the rounding of its own
    kernels; `simulated_agreement` says how well.

    Args:
        checkpoint: causal.
        plan: that the artefact was written by.
        artefact: opened.
        features: raw log-mel of clips, (frames, mels).

    Raises:
        ExportError: the model is windowed, the scheme has no integer activations, or the plan is another model's.
    """
    model = checkpoint.model
    if not isinstance(model, CRNN) or model.config.form != "causal":
        raise ExportError(f"{checkpoint.name}: only a causal model is compared tensor by tensor")
    if not plan.scheme.static:
        raise ExportError(f"{plan.scheme.name}: has no integer activations to compare")
    graph = lower_step(model)
    plan.check(expand_gru(graph), digest(model))
    prepared = plan.prepared(graph)
    grids = dict(plan.grids)
    forms = onnxruntime if artefact.engine.startswith("onnxruntime") else xnnpack
    prepared = forms.suited(prepared, grids)
    exact = Simulation(prepared, dtype=torch.float64)
    rounded = Simulation(prepared, dtype=torch.float64, plan=plan, grids=grids)
    log_mel, length = LogMel(checkpoint.front_end), graph.frames
    clips = [log_mel.normalise(np.array(clip[: len(clip) // length * length], np.float32)) for clip in features]
    sums: dict[str, Tensor] = {}
    expected: list[Array] = []
    simulated: list[Array] = []
    for clip in clips:
        x = torch.from_numpy(np.ascontiguousarray(clip.T)[None, None])
        expected.append(_stream(exact, rounded, x, sums, simulated))
    found = stream_logits(artefact, features)
    return _summary(checkpoint, exact, rounded.grids, sums, expected, simulated, found)


def _stream(
    exact: Simulation,
    rounded: Simulation,
    x: Tensor,
    sums: dict[str, Tensor],
    simulated: list[Array],
) -> Array:
    """Both models over a clip, side by side; adds to `sums` the energies of signal, error, own rounding, and counts."""
    states = [simulation.initial(1) for simulation in (exact, rounded)]
    logits: list[list[Array]] = [[], []]
    for chunk in torch.split(x, exact.graph.frames, dim=3) if x.shape[3] else ():
        seen: list[dict[str, Tensor]] = [{}, {}]
        for i, simulation in enumerate((exact, rounded)):
            outputs = simulation({"features": chunk, **states[i]}, seen[i].__setitem__)
            logits[i].append(outputs["logits"][0, 0].numpy())
            states[i] = {s.name: outputs[t.name] for s, t in simulation.graph.states()}
        for name, value in seen[0].items():
            own = rounded.rounded(name, value) - value
            outside = torch.zeros(())
            if grid := rounded.grids.get(name):
                outside = (own.abs() > 0.51 * grid.scale).sum()
            parts = [(value**2).sum(), ((seen[1][name] - value) ** 2).sum(), (own**2).sum(), outside]
            row = torch.stack([*(part.double() for part in parts), torch.tensor(float(value.numel()))])
            sums[name] = sums.get(name, torch.zeros_like(row)) + row
    classes = exact.graph.shapes["logits"][1]
    simulated.append(np.array(logits[1]).reshape(-1, classes))
    return np.array(logits[0]).reshape(-1, classes)


def _summary(
    checkpoint: Checkpoint,
    exact: Simulation,
    grids: Mapping[str, Affine],
    sums: dict[str, Tensor],
    expected: Sequence[Array],
    simulated: Sequence[Array],
    found: Sequence[Array],
) -> Divergence:
    writers = {node.output: node for node in exact.graph.nodes}
    layers = []
    for name, row in sums.items():
        writer = writers.get(name)
        if isinstance(writer, Concat | Fold | Slice | Reshape | Unfold):
            continue
        energy, error, own, outside, count = (float(v) for v in row)
        grid = grids.get(name)
        kind = "input" if writer is None else type(writer).__name__
        if isinstance(writer, Conv | Linear):
            kind += " " + "x".join(map(str, writer.weight.shape))
        noise = _decibels(energy, error), _decibels(energy, own)
        layers.append(Layer(name, kind, grid.scale if grid else None, *noise, outside / count))
    seconds = exact.graph.frames * checkpoint.front_end.hop / checkpoint.front_end.sample_rate
    flips, agreed, simulated_agreed, margins = [], 0, 0, []
    for i, (e, s, f) in enumerate(zip(expected, simulated, found, strict=True)):
        top = np.sort(e, axis=1)
        margins += list(top[:, -1] - top[:, -2])
        agreed += int((e.argmax(1) == f.argmax(1)).sum())
        simulated_agreed += int((s.argmax(1) == f.argmax(1)).sum())
        for step in np.flatnonzero(e.argmax(1) != f.argmax(1)):
            wanted, taken = int(e[step].argmax()), int(f[step].argmax())
            labels = checkpoint.labels[wanted], checkpoint.labels[taken]
            margin = float(e[step, wanted] - e[step, taken])
            flips.append(Flip(i, round(seconds * (int(step) + 1), 3), *labels, margin))
    steps = len(margins)
    if not steps:
        raise ExportError("no clip lasts a step; nothing to compare on")
    return Divergence(
        tuple(layers), tuple(flips), steps, agreed / steps, simulated_agreed / steps, float(np.median(margins))
    )


def _decibels(signal: float, noise: float) -> float:
    if noise <= 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
