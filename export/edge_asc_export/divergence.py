"""Divergence of an integer model from the float one: the error of each tensor, and the decisions that differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from edge_asc.engine import open_runtime
from edge_asc.errors import ExportError
from edge_asc.evaluation.logits import choose_inputs, stream_logits
from edge_asc.frontend import Array, LogMel
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.format import format_of
from edge_asc_export.graph import Concat, Conv2D, Fold, Linear, Node, Reshape, Slice, Unfold
from edge_asc_export.lowering import lower_step
from edge_asc_export.passes.equalise import equalise_by_plan
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan, digest
from edge_asc_export.simulation import Simulation


@dataclass(frozen=True)
class Layer:
    """How far a tensor of the integer model is from the float one.

    SQNR is the signal-to-quantisation-noise ratio: 10 log₁₀ of the energy of the float tensor over that of the
    difference, dB.

    Attributes:
        tensor: its name in the export form.
        operation: that writes it.
        scale: of its integers; None where it is float.
        cumulative_sqnr: with the errors of all layers before it, dB.
        local_sqnr: with its own rounding alone, dB; infinite where it is float.
        clipped: share of float values outside the range of its integers.
    """

    tensor: str
    operation: str
    scale: float | None
    cumulative_sqnr: float
    local_sqnr: float
    clipped: float

    def to_json(self) -> dict[str, object]:
        """Return a JSON object; infinite numbers are None."""
        return {k: None if isinstance(v, float) and math.isinf(v) else v for k, v in asdict(self).items()}


@dataclass(frozen=True)
class Flip:
    """A step at which the artefact decides otherwise than float PyTorch.

    Attributes:
        clip: index.
        seconds: since the start of the clip.
        expected, actual: labels, of float PyTorch and of the artefact.
        margin: how far the expected logit lay above the one of the artefact's label, in float.
    """

    clip: int
    seconds: float
    expected: str
    actual: str
    margin: float


@dataclass(frozen=True)
class Divergence:
    """An artefact against its float model.

    Attributes:
        layers: in the order of computation.
        flips: in the order of the clips.
        steps: number of decisions compared, each by its step's own logits.
        agreement: share of equal ones.
        simulated_agreement: share of decisions of the artefact that equal those of the simulation the layers are from.
        margin: median over all steps between the best and the second logit in float, to compare a flip's margin with.
    """

    layers: tuple[Layer, ...]
    flips: tuple[Flip, ...]
    steps: int
    agreement: float
    simulated_agreement: float
    margin: float

    def to_json(self) -> dict[str, object]:
        """Return a JSON object."""
        return {
            **asdict(self),
            "layers": [layer.to_json() for layer in self.layers],
            "flips": [asdict(flip) for flip in self.flips],
        }


@dataclass(frozen=True)
class _Sums:
    """Sums over all values of a tensor: energies of the float value, its errors, and counts."""

    energy: float = 0.0
    error: float = 0.0
    local_error: float = 0.0
    outside: float = 0.0
    count: float = 0.0

    def __add__(self, other: _Sums) -> _Sums:
        return _Sums(*(a + b for a, b in zip(asdict(self).values(), asdict(other).values(), strict=True)))


@dataclass(frozen=True)
class _Logits:
    """Logits of one clip, (steps, classes), of the float model and of the simulated integer model."""

    exact: Array
    simulated: Array


class _Comparison:
    """The float model and the simulated integer model, run side by side."""

    def __init__(self, exact: Simulation, integer: Simulation) -> None:
        self.exact, self.integer = exact, integer
        self.sums: dict[str, _Sums] = {}

    def stream(self, x: Tensor) -> _Logits:
        """Run both over a clip, (1, 1, mel, time), and add to the sums of each tensor."""
        models = (self.exact, self.integer)
        states = [model.initial(1) for model in models]
        logits: list[list[Array]] = [[], []]
        for chunk in torch.split(x, self.exact.graph.frames, dim=3) if x.shape[3] else ():
            values: list[dict[str, Tensor]] = [{}, {}]
            for i, model in enumerate(models):
                outputs = model({"features": chunk, **states[i]}, values[i].__setitem__)
                logits[i].append(outputs["logits"][0, 0].numpy())
                states[i] = {s.name: outputs[t.name] for s, t in model.graph.states()}
            for name, value in values[0].items():
                self.sums[name] = self.sums.get(name, _Sums()) + self._compare(name, value, values[1][name])
        classes = self.exact.graph.shapes["logits"][1]
        exact, simulated = (np.array(each).reshape(-1, classes) for each in logits)
        return _Logits(exact, simulated)

    def _compare(self, name: str, value: Tensor, integer: Tensor) -> _Sums:
        local = self.integer.round(name, value) - value
        qparams = self.integer.qparams.get(name)
        outside = float((local.abs() > 0.51 * qparams.scale).sum()) if qparams else 0.0
        energy, error, local_error = (float((each**2).sum()) for each in (value, integer - value, local))
        return _Sums(energy, error, local_error, outside, value.numel())

    def layers(self) -> tuple[Layer, ...]:
        """Return the layers that compute, in order."""
        writers = {node.output: node for node in self.exact.graph.nodes}
        layers = []
        for name, sums in self.sums.items():
            writer = writers.get(name)
            if isinstance(writer, Concat | Fold | Slice | Reshape | Unfold):
                continue
            qparams = self.integer.qparams.get(name)
            layers.append(
                Layer(
                    tensor=name,
                    operation=_describe(writer),
                    scale=qparams.scale if qparams else None,
                    cumulative_sqnr=_decibels(sums.energy, sums.error),
                    local_sqnr=_decibels(sums.energy, sums.local_error),
                    clipped=sums.outside / sums.count,
                )
            )
        return tuple(layers)


def diverge(
    checkpoint: Checkpoint,
    plan: Plan,
    artefact: Path,
    features: Sequence[Array],
    samples: Sequence[Array] | None = None,
) -> Divergence:
    """Compare an integer artefact with its float model, decision by decision and tensor by tensor.

    Tensors are those of the float64 simulation of the plan. An int8 TFLite artefact follows it bit by bit, up to layers
    in float; ONNX Runtime rounds some results in its own way. `simulated_agreement` states how well.

    Args:
        checkpoint: causal.
        plan: that the artefact was written by.
        artefact: its file.
        features: raw log-mel of clips, (frames, mels).
        samples: of the clips, (n,), for an artefact that takes these.

    Raises:
        ExportError: the model is windowed, the scheme has no integer activations, or the plan is another model's.
    """
    model = checkpoint.model
    if not isinstance(model, CRNN) or model.config.form != "causal":
        raise ExportError(f"{checkpoint.name}: only a causal model is compared tensor by tensor")
    if not plan.scheme.static:
        raise ExportError(f"{plan.scheme.name}: has no integer activations to compare")
    graph = lower_step(model)
    plan.check(expand_gru(equalise_by_plan(graph, plan)), digest(model))
    lowered = run_passes(Lowered.of(graph, plan), format_of(artefact).passes)
    exact = Simulation(lowered.graph, dtype=torch.float64)
    integer = Simulation(lowered.graph, dtype=torch.float64, plan=plan, qparams=lowered.qparams)
    comparison = _Comparison(exact, integer)
    log_mel, length = LogMel(checkpoint.front_end), lowered.graph.frames
    streamed = []
    for clip in features:
        whole = log_mel.normalise(np.array(clip[: len(clip) // length * length], np.float32))
        streamed.append(comparison.stream(torch.from_numpy(np.ascontiguousarray(whole.T)[None, None])))
    runtime = open_runtime(artefact)
    actual = stream_logits(runtime, choose_inputs(runtime.contract, features, samples))
    return _summarise(checkpoint, comparison, streamed, actual)


def _summarise(
    checkpoint: Checkpoint, comparison: _Comparison, streamed: Sequence[_Logits], actual: Sequence[Array]
) -> Divergence:
    """Compare the decisions of a checkpoint's artefact, clip by clip."""
    seconds = comparison.exact.graph.frames * checkpoint.front_end.hop / checkpoint.front_end.sample_rate
    flips: list[Flip] = []
    agreed, simulated_agreed, margins = 0, 0, []
    for i, (logits, got) in enumerate(zip(streamed, actual, strict=True)):
        expected, decided = logits.exact.argmax(1), got.argmax(1)
        top = np.sort(logits.exact, axis=1)
        margins += list(top[:, -1] - top[:, -2])
        agreed += int((expected == decided).sum())
        simulated_agreed += int((logits.simulated.argmax(1) == decided).sum())
        for step in np.flatnonzero(expected != decided):
            label, other = int(expected[step]), int(decided[step])
            flips.append(
                Flip(
                    clip=i,
                    seconds=round(seconds * (int(step) + 1), 3),
                    expected=checkpoint.labels[label],
                    actual=checkpoint.labels[other],
                    margin=float(logits.exact[step, label] - logits.exact[step, other]),
                )
            )
    steps = len(margins)
    if not steps:
        raise ExportError("no clip lasts a step; nothing to compare on")
    return Divergence(
        layers=comparison.layers(),
        flips=tuple(flips),
        steps=steps,
        agreement=agreed / steps,
        simulated_agreement=simulated_agreed / steps,
        margin=float(np.median(margins)),
    )


def _describe(writer: Node | None) -> str:
    """Return the kind of an operation, and the shape of its weights."""
    if writer is None:
        return "input"
    weights = " " + "x".join(map(str, writer.weight.shape)) if isinstance(writer, Conv2D | Linear) else ""
    return type(writer).__name__ + weights


def _decibels(signal: float, noise: float) -> float:
    if noise <= 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf
