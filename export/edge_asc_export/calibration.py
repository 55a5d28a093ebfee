"""Calibration: a quantisation plan recorded on training audio, so that an int8 export needs none."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain
from typing import Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from edge_asc.contract import STEP_FRAMES
from edge_asc.errors import ExportError
from edge_asc.evaluation.logits import at_level
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.jsonobject import JsonObject, JsonValue
from edge_asc.models import CRNN
from edge_asc.progress import SILENT, Phase, Progress
from edge_asc.provenance import Calibration
from edge_asc.training.recorder import Recorder
from edge_asc_export.graph import Graph, group_tied
from edge_asc_export.lowering import lower_gru, lower_step, lower_window
from edge_asc_export.passes.equalise import equalise_by_plan, groups
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import (
    Equalisation,
    Plan,
    Range,
    SharedRange,
    Sharing,
    digest,
    front_end_digest,
    saturation,
    sharing_of_all,
)
from edge_asc_export.ranges import METHODS, Histogram, Histograms, Method, choose_ranges
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.sensitivity import DRAWS, STREAMS, Tracing, trace
from edge_asc_export.simulation import Observer, Simulation

Choice = Literal["auto", Method]
CHOICES: tuple[Choice, ...] = ("auto", *METHODS)
# The methods that count all values alike.
COUNTED = {"percentile", "mse"}

# Input levels, dB, that the ranges cover: microphones differ, and quiet audio reaches other corners than loud audio.
LEVELS = (0.0, -15.0, -30.0)
BATCH = 64
MOST_CLIPS = 128
JUDGED_CLIPS = 32
FEW_CLIPS = 16
# Frames of all streams that gradients are taken of at once: they need every value of them.
TRACED_FRAMES = STREAMS * 312
# That logits are divided by: a model is surer of its training clips than of others, and few of them would decide.
TEMPERATURE = 4.0
LARGEST_SCALE = 1e3
# How large a channel is: this root of the mean of this power. Its one largest value would let a channel that is seldom
# large be rounded more coarsely than others whenever it is not.
POWER = 8
# How far a tensor that dense layers read is equalised: their weights take up what the activations lose.
DENSE_EXPONENT = 0.75

T = TypeVar("T")
Features = Sequence[Array]
# The graphs of a model, by the number of frames of the clips that they are run on.
Graphs = Mapping[int, tuple[Graph, ...]]


@dataclass(frozen=True)
class Source:
    """Description of calibration clips.

    Attributes:
        data: name of the data set.
        recorded_on: which of its clips.
        classes: number of their labels; None where unknown.
    """

    data: str = ""
    recorded_on: str = ""
    classes: int | None = None


def calibrate(
    model: CRNN,
    front_end: FrontEnd,
    features: Features,
    *,
    method: Choice = "auto",
    source: Source | None = None,
    progress: Progress = SILENT,
) -> Plan:
    """Record the int8 plan of a model: equalisation, and the range of every tensor.

    `ranges.choose_ranges` has the methods. "auto" simulates the integer model with each of them and keeps the one whose
    probabilities, at a temperature, are nearest to those of float on the calibration clips.

    Args:
        model: trained, in evaluation mode.
        front_end: with normalisation.
        features: raw log-mel of each clip, (frames, mels); at most 128 of them are used, evenly spaced.
        method: of choosing the ranges.
        source: what the clips are, for the record.
        progress: receives the passes over the clips.

    Raises:
        ExportError: no clips, NaN, nothing but silence in them, or an unknown method.
    """
    if method not in CHOICES:
        raise ExportError(f"calibration method is {method!r}; expected {', '.join(CHOICES)}")
    features, source = evenly(features, MOST_CLIPS), source or Source()
    batches = _batches(front_end, features)
    candidates: tuple[Method, ...] = METHODS if method == "auto" else (method,)
    judged = candidates if len(candidates) > 1 else ()
    few = _batches(front_end, evenly(features, JUDGED_CLIPS)) if judged or "fisher" in candidates else []
    total = 2 + bool(COUNTED & set(candidates)) + ("fisher" in candidates) + len(judged)
    with progress.phase("recording activation ranges", total) as phase:
        recording = _Recording.start(model, front_end, batches, phase)
        ranges = recording.ranges_by(candidates, few)
        plans = {each: replace(recording.plan, ranges=chosen) for each, chosen in ranges.items()}
        divergences = {each: recording.divergence(plans[each], few) for each in judged}
    chosen = min(plans, key=lambda each: divergences.get(each, 0.0))
    record = Calibration(
        data=source.data,
        recorded_on=source.recorded_on,
        classes=source.classes,
        clips=len(features),
        clips_sha256=hashlib.sha256(b"".join(np.ascontiguousarray(clip).tobytes() for clip in features)).hexdigest(),
        levels_db=LEVELS,
        method=chosen,
        kl={each: float(f"{divergence:.4g}") for each, divergence in divergences.items()},
        warnings=tuple(_warnings(front_end, features, source.classes)),
    )
    return replace(plans[chosen], provenance=record, front_end=front_end_digest(front_end))


@dataclass(frozen=True)
class _Recording:
    """A model on its calibration clips.

    Attributes:
        lowered: its graphs as they were lowered.
        equalised: the same under the plan.
        plan: with equalisation, without ranges.
        spans: the range of all values of what shares its integers.
        batches: the clips.
        phase: of the progress; one unit a pass over the clips.
    """

    lowered: Graphs
    equalised: Graphs
    plan: Plan
    spans: tuple[SharedRange, ...]
    batches: Sequence[Tensor]
    phase: Phase

    @classmethod
    def start(cls, model: CRNN, front_end: FrontEnd, batches: Sequence[Tensor], phase: Phase) -> _Recording:
        """Lower the model, equalise it, and record the range of all values."""
        lengths = sorted({batch.shape[3] for batch in batches})
        lowered: Graphs = {frames: _lower(model, frames) for frames in lengths}
        scales = _equalisation(lowered[lengths[0]], _measure_channels(lowered, batches))
        phase.advance()
        plan = Plan(SCHEMES["int8"], digest(model), (), scales)
        equalised = {frames: tuple(equalise_by_plan(g, plan) for g in graphs) for frames, graphs in lowered.items()}
        shared = sharing_of_all([expand_gru(graph) for graph in equalised[lengths[0]]], _feature_range(front_end))
        spans = tuple(_spans(shared, equalised, batches))
        phase.advance()
        return cls(lowered, equalised, plan, spans, batches, phase)

    def ranges_by(self, methods: Sequence[Method], few: Sequence[Tensor]) -> dict[Method, tuple[SharedRange, ...]]:
        """Return the ranges that each method chooses; `few` are the clips that gradients are taken on."""
        counted: list[Histogram] = []
        weighed: list[Histogram] = []
        if COUNTED & set(methods):
            counted = _count_values(self.spans, self.equalised, self.batches)
            self.phase.advance()
        if "fisher" in methods:
            weighed = _weigh_values(self.spans, self.equalised, few)
            self.phase.advance()
        return {each: choose_ranges(each, self.spans, weighed if each == "fisher" else counted) for each in methods}

    def divergence(self, plan: Plan, batches: Sequence[Tensor]) -> float:
        """Return the mean divergence of the simulated integer model's probabilities from float's, nats.

        Those of logits divided by the temperature.
        """
        total, count = 0.0, 0
        for batch in batches:
            frames = batch.shape[3]
            expected = _run([Simulation(graph) for graph in self.lowered[frames]], batch).double()
            integer = [Simulation(graph, plan=plan) for graph in self.equalised[frames]]
            actual = _run(integer, batch).double()
            expected, actual = ((logits / TEMPERATURE).log_softmax(2) for logits in (expected, actual))
            total += float((expected.exp() * (expected - actual)).sum())
            count += actual[..., 0].numel()
        self.phase.advance()
        return total / count


def evenly(items: Sequence[T], most: int) -> list[T]:
    """Return at most `most` of the items, evenly spaced."""
    picked = np.unique(np.linspace(0, len(items) - 1, min(len(items), most)).round().astype(int))
    return [items[i] for i in picked]


def _warnings(front_end: FrontEnd, features: Features, classes: int | None) -> list[str]:
    silent = sum(float(clip.max()) <= np.log(front_end.floor) + 1.0 for clip in features if len(clip))
    warnings = []
    if classes == 1:
        warnings.append("all calibration clips have one label: ranges of other sounds may be clipped")
    if len(features) < FEW_CLIPS:
        warnings.append(f"{len(features)} calibration clips are few: ranges of other sounds may be clipped")
    if silent:
        warnings.append(f"{silent} of {len(features)} calibration clips are silent")
    return warnings


def _measure_channels(models: Graphs, batches: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return how large each channel of a tensor is."""
    sums: dict[str, Tensor] = {}
    counts: dict[str, int] = {}

    def observe(name: str, value: Tensor) -> None:
        axes = (0, 2, 3) if value.ndim == 4 else (0, 1)
        total = value.double().pow(POWER).sum(dim=axes)
        sums[name] = sums.get(name, torch.zeros_like(total)) + total
        counts[name] = counts.get(name, 0) + value.numel() // len(total)

    _observe(models, batches, observe)
    return {name: (total / counts[name]) ** (1 / POWER) for name, total in sums.items()}


def _equalisation(graphs: Sequence[Graph], sizes: Mapping[str, Tensor]) -> tuple[Equalisation, ...]:
    """Return factors that bring the channels of each tensor nearer to its largest one.

    A group's channel is as large as it is in the tensor where it matters most; one that is always zero is left alone.
    """
    all_groups = [group for graph in graphs for group in groups(graph)]
    parts = [group.tensors for group in all_groups]
    equalisation = []
    for tensors in group_tied(dict.fromkeys(chain.from_iterable(parts)), parts):
        free = all(group.free for group in all_groups if group.tensors[0] in tensors)
        each = [sizes[tensor] for tensor in tensors if tensor in sizes]
        share = torch.stack([m / m.max().clamp_min(1e-12) for m in each]).amax(0)
        exponent = 1.0 if free else DENSE_EXPONENT
        scale = torch.where(share > 0, share.clamp_min(1e-12) ** -exponent, torch.ones_like(share))
        values = tuple(float(v) for v in scale.clamp(1.0, LARGEST_SCALE).float())
        equalisation.append(Equalisation(tensors, values))
    return tuple(equalisation)


def _feature_range(front_end: FrontEnd) -> Range:
    """Return the range of features: from silence, or 0 where that is lower, to the front end's clip."""
    if not front_end.mean:
        return -front_end.clip, front_end.clip
    silence = np.full(front_end.mels, np.log(front_end.floor), np.float32)
    return min(0.0, float(LogMel(front_end).normalise(silence).min())), front_end.clip


def _spans(shared: Sequence[Sharing], models: Graphs, batches: Sequence[Tensor]) -> list[SharedRange]:
    """Return the smallest and the largest value of what shares its integers."""
    seen: dict[str, tuple[float, float]] = {}

    def observe(name: str, value: Tensor) -> None:
        low, high = (float(v) for v in value.aminmax())
        known = seen.get(name, (low, high))
        seen[name] = (min(known[0], low), max(known[1], high))

    _observe(models, batches, observe)
    for graph in next(iter(models.values())):
        seen |= {name: (float(value.min()), float(value.max())) for name, value in graph.constants.items()}
    limits = saturation(expand_gru(graph) for graph in next(iter(models.values())))
    spans = []
    for tensors, fixed in shared:
        known = [seen[tensor] for tensor in tensors if tensor in seen] or [(0.0, 0.0)]
        limit = max(limits.get(tensor, math.inf) for tensor in tensors)
        low, high = fixed or (
            max(-limit, min(0.0, *(k[0] for k in known))),
            min(limit, max(0.0, *(k[1] for k in known))),
        )
        spans.append(SharedRange(tensors, low, high, fixed is not None))
    return spans


def _count_values(spans: Sequence[SharedRange], models: Graphs, batches: Sequence[Tensor]) -> list[Histogram]:
    """Count the values in equal bins of each recorded range."""
    histograms = Histograms(spans)

    _observe(models, batches, histograms.add)
    return histograms.counts


def _weigh_values(spans: Sequence[SharedRange], models: Graphs, batches: Sequence[Tensor]) -> list[Histogram]:
    """Count the values in equal bins of each recorded range, each with its Fisher information.

    A causal model's clips are cut where gradients of a longer one would take much memory.
    """
    histograms, generator = Histograms(spans), torch.Generator().manual_seed(0)
    with torch.inference_mode(False):
        for batch in batches:
            simulations = [Tracing(graph) for graph in models[batch.shape[3]]]
            cut = batch[..., :TRACED_FRAMES] if len(simulations) == 1 else batch
            for streams in torch.split(cut.clone(), max(1, TRACED_FRAMES // cut.shape[3])):
                for each in trace(
                    simulations, partial(_run, simulations, streams), generator, DRAWS, TEMPERATURE
                ).values:
                    if each.gradients:
                        information = torch.stack(each.gradients).double().square().sum(0)
                        histograms.add(each.tensor, each.value, information)
    return histograms.counts


def _observe(models: Graphs, batches: Sequence[Tensor], observe: Observer) -> None:
    simulations = {frames: [Simulation(graph) for graph in graphs] for frames, graphs in models.items()}
    for batch in batches:
        _run(simulations[batch.shape[3]], batch, observe)


def _batches(front_end: FrontEnd, features: Features) -> list[Tensor]:
    """Return normalised log-mel at every level, (clips, 1, mel, time), clips of as many whole steps together.

    Clips of less than a step are left out.
    """
    by_length: dict[int, list[Array]] = {}
    for clip in features:
        if frames := len(clip) // STEP_FRAMES * STEP_FRAMES:
            by_length.setdefault(frames, []).append(clip[:frames])
    if not by_length:
        raise ExportError(
            f"none of {len(features)} clips lasts a step of {STEP_FRAMES} frames (0.256 s); expected at least one"
        )
    stacks = [np.stack(clips) for clips in by_length.values()]
    if not all(np.isfinite(stack).all() for stack in stacks):
        raise ExportError("calibration features hold NaN or infinite values; check the recordings")
    if max(float(stack.max()) for stack in stacks) <= np.log(front_end.floor) + 1.0:
        raise ExportError("the calibration clips are silent; ranges recorded on silence would clip real audio")
    log_mel = LogMel(front_end)
    result = []
    for stack in stacks:
        for level in LEVELS:
            x = log_mel.normalise(at_level(stack, level, front_end.floor))
            result += list(torch.split(torch.from_numpy(x).transpose(1, 2).unsqueeze(1), BATCH))
    return result


def _lower(model: CRNN, frames: int) -> tuple[Graph, ...]:
    if model.config.form == "causal":
        return (lower_step(model),)
    return lower_window(model, frames // 32, frames), lower_gru(model)


def _run(simulations: Sequence[Simulation], batch: Tensor, observe: Observer | None = None) -> Tensor:
    """Return the logits (stream, step, class) of a step graph, or of a window and a GRU graph."""
    if len(simulations) == 1:
        return simulations[0].stream(batch, observe)
    window, gru = simulations
    embeddings = window({"features": batch}, observe)["embeddings"]
    state, logits = gru.initial(len(batch)), []
    for row in torch.split(embeddings, 1, dim=1):
        outputs = gru({"embedding": row, **state}, observe)
        logits.append(outputs["logits"][:, 0])
        state = {source.name: outputs[target.name] for source, target in gru.graph.states()}
    return torch.stack(logits, dim=1)


def _record(
    model: CRNN, front_end: FrontEnd, features: Features, source: Mapping[str, object], progress: Progress = SILENT
) -> dict[str, JsonValue]:
    clips = JsonObject(source, "source of the calibration clips")
    described = Source(clips.text("data", ""), clips.text("recorded_on", ""), clips.integer("classes", 0) or None)
    return calibrate(model, front_end, features, source=described, progress=progress).to_json()


def _check(model: CRNN) -> None:
    """Lower a model, which raises an ExportError where a part of it has no export form."""
    if model.config.form == "causal":
        lower_step(model)
    else:
        front_end = FrontEnd()
        lower_window(model, 1, front_end.sample_rate // front_end.hop)


RECORDER = Recorder(field="quantisation", record=_record, check=_check)
