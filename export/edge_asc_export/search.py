"""Search for the tensors that stay float: plans from a static scheme to float, each as near to float as is cheap.

Every tensor has a noise, the divergence that its own rounding causes (`sensitivity.measure_noise`), and every plan a
cost, the instructions of a step (`cost.CostModel`). Beginning with a static scheme, what lowers the noise most for its
cost is kept in float, one thing after the other. The plans so found are then simulated, until one is near enough.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from edge_asc.closeness import Closeness
from edge_asc.errors import ExportError
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.frontend import Array, LogMel
from edge_asc.models import CRNN
from edge_asc.training.checkpoint import Checkpoint
from edge_asc_export.calibration import evenly
from edge_asc_export.cost import CostModel
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import group_tied
from edge_asc_export.lowering import lower_step
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import MIXED, Scheme
from edge_asc_export.sensitivity import MOVES, STREAMS, Tracing, measure_noise
from edge_asc_export.simulation import Simulation

BATCH = 32
# Most clips that plans are simulated on, and that noise is measured on; the share of the noise at which a search ends.
CLIPS = 128
NOISE_CLIPS = 16
REST = 0.02


@dataclass(frozen=True)
class Proposal:
    """A plan that a search has found.

    Attributes:
        scheme: with the tensors that stay float.
        divergence: predicted from the noise of the tensors that are rounded, nats.
        instructions: predicted of one step.
    """

    scheme: Scheme
    divergence: float
    instructions: float


@dataclass(frozen=True)
class _Part:
    """Tensors that stay float together.

    Attributes:
        name: of the first one in the plan.
        tensors: of the lowered graph.
        noise: sum of theirs.
    """

    name: str
    tensors: frozenset[str]
    noise: float

    @property
    def block(self) -> str:
        """The block of the network that it is in, such as "body_3"."""
        found = re.match(r"(?:cache_)?([a-z]+(?:_\d+)?)", self.name)
        return found[1] if found else self.name


class Search:
    """The plans of one causal model, from a static scheme to float.

    Args:
        checkpoint: of a causal model.
        plan: static.
        features: raw log-mel of clips, (frames, mels); at most 128 of them are used, evenly spaced.
        processor: one of `cost.PROCESSORS`.

    Raises:
        ExportError: the model is not causal, or no clip lasts a step.
    """

    def __init__(self, checkpoint: Checkpoint, plan: Plan, features: Sequence[Array], processor: str) -> None:
        if not isinstance(checkpoint.model, CRNN) or checkpoint.model.config.form != "causal":
            raise ExportError(f"{checkpoint.name}: only a causal model can be searched for what stays float")
        self.checkpoint, self.plan = checkpoint, plan
        self.graph = lower_step(checkpoint.model)
        self.lowered = self._lower(plan)
        self.clips = _normalise(LogMel(checkpoint.front_end), evenly(features, CLIPS), self.lowered.graph.frames)
        self.cost = CostModel(self.lowered, processor)
        self._simulated: dict[Scheme, Closeness] = {}

    @cached_property
    def proposals(self) -> tuple[Proposal, ...]:
        """The static scheme, then plans in ascending order of cost, each with more in float than the one before.

        Where neighbours are in float, conversions between them go: what costs no less than a later plan is left out.
        """
        parts = self._measure_parts()
        total, rounded = sum(part.noise for part in parts), list(parts)
        found = [self._propose(parts, rounded)]
        while sum(part.noise for part in rounded) > REST * total:
            move = self._choose(parts, rounded)
            rounded = [part for part in rounded if part not in move]
            found.append(self._propose(parts, rounded))
        efficient, least = list[Proposal](), math.inf
        for proposal in reversed(found[1:]):
            if proposal.instructions < least:
                efficient.append(proposal)
                least = proposal.instructions
        return (found[0], *reversed(efficient))

    def find(self, holds: Callable[[Closeness], bool]) -> Proposal | None:
        """Return the first proposal whose simulation holds, by bisection; None where the last one does not."""
        low, high = 0, len(self.proposals)
        while low < high:
            middle = (low + high) // 2
            if holds(self.simulate(self.proposals[middle].scheme)):
                high = middle
            else:
                low = middle + 1
        return self.proposals[low] if low < len(self.proposals) else None

    def simulate(self, scheme: Scheme) -> Closeness:
        """Return how close a simulated integer model is to the float one on the clips."""
        if scheme not in self._simulated:
            lowered = self._lower(self.plan.with_scheme(scheme))
            logits = _stream(Simulation(lowered.graph, plan=lowered.plan, qparams=lowered.qparams), self.clips)
            self._simulated[scheme] = measure_closeness(self._float_logits, logits, self.checkpoint.decision)
        return self._simulated[scheme]

    @cached_property
    def _float_logits(self) -> list[Array]:
        return _stream(Simulation(self.lowered.graph), self.clips)

    def _lower(self, plan: Plan) -> Lowered:
        return run_passes(Lowered.of(self.graph, plan), FORMATS.load("tflite").passes)

    def _measure_parts(self) -> list[_Part]:
        """Return what can stay float: each shared range with the tensors of the lowered graph that it belongs to."""
        graph, qparams = self.lowered.graph, self.lowered.qparams
        rounded = Simulation(graph, plan=self.plan, qparams=qparams)
        few = _batches(evenly(self.clips, NOISE_CLIPS))
        batches = [part for batch in few for part in torch.split(batch, STREAMS)]
        noise = measure_noise(Tracing(graph), rounded, batches)
        ties: list[tuple[str, ...]] = [(source.tensor, target.tensor) for source, target in graph.states()]
        ties += [(node.output, *node.inputs) for node in graph.nodes if isinstance(node, MOVES)]
        tied = {tensor: frozenset(group) for group in group_tied(list(qparams), ties) for tensor in group}
        parts = []
        for shared in self.plan.ranges:
            tensors = frozenset[str]().union(*(tied[tensor] for tensor in shared.tensors if tensor in tied))
            if tensors:
                total = sum(noise.get(tensor, 0.0) for tensor in tensors)
                parts.append(_Part(shared.tensors[0], tensors, total))
        return parts

    def _choose(self, parts: Sequence[_Part], rounded: Sequence[_Part]) -> set[_Part]:
        """Return what lowers the noise most for its cost: one part, or all of a block."""
        blocks: dict[str, set[_Part]] = {}
        for part in rounded:
            blocks.setdefault(part.block, set()).add(part)
        moves = [{part} for part in rounded if part.noise > 0.0] + [each for each in blocks.values() if len(each) > 1]
        before = self._count(parts, rounded)

        def gain(move: set[_Part]) -> float:
            more = self._count(parts, [part for part in rounded if part not in move]) - before
            # What makes a step cheaper comes first, the noisiest of it at the front.
            return sum(part.noise for part in move) / max(more, 1.0)

        return max(moves, key=gain)

    def _count(self, parts: Sequence[_Part], rounded: Sequence[_Part]) -> float:
        kept = set(rounded)
        return self.cost.count(frozenset[str]().union(*(part.tensors for part in parts if part not in kept)))

    def _propose(self, parts: Sequence[_Part], rounded: Sequence[_Part]) -> Proposal:
        base, kept = self.plan.scheme, set(rounded)
        added = tuple(part.name for part in parts if part not in kept)
        scheme = Scheme(MIXED, base.weights, base.activations, (*base.float_tensors, *added)) if added else base
        return Proposal(scheme, sum(part.noise for part in rounded), self._count(parts, rounded))


def _normalise(log_mel: LogMel, features: Sequence[Array], frames: int) -> list[Tensor]:
    """Return the normalised log-mel of the whole steps of each clip, (1, mel, time)."""
    clips = []
    for clip in features:
        if whole := len(clip) // frames * frames:
            clips.append(torch.from_numpy(log_mel.normalise(np.array(clip[:whole], np.float32))).T[None].contiguous())
    if not clips:
        raise ExportError(f"none of {len(features)} clips lasts a step of {frames} frames; expected at least one")
    return sorted(clips, key=lambda clip: clip.shape[2])


def _batches(clips: Sequence[Tensor]) -> list[Tensor]:
    """Return the clips of each length together, (stream, 1, mel, time); they are in the order of their length."""
    batches = []
    for length in dict.fromkeys(clip.shape[2] for clip in clips):
        same = torch.stack([clip for clip in clips if clip.shape[2] == length])
        batches += list(torch.split(same, BATCH))
    return batches


def _stream(simulation: Simulation, clips: Sequence[Tensor]) -> list[Array]:
    return [logits.numpy() for batch in _batches(clips) for logits in simulation.stream(batch)]
