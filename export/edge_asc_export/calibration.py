"""Recording activation ranges on training audio, so that an int8 export needs none."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from edge_asc.errors import ExportError
from edge_asc.evaluation.logits import at_level
from edge_asc.frontend import FrontEnd, LogMel
from edge_asc.models import CRNN
from edge_asc_export.graph import Graph
from edge_asc_export.lowering import equalisable, lower_gru, lower_step, lower_window
from edge_asc_export.quantisation import Calibration
from edge_asc_export.simulation import Observer, Simulation

# Input levels, dB, that the ranges cover: microphones differ, and quiet audio reaches other corners than loud audio.
LEVELS = (0.0, -15.0, -30.0)
BATCH = 64
MOST_CLIPS = 128
LARGEST_SCALE = 1e3

Features = Sequence[npt.NDArray[np.float32]]


def calibrate(
    model: CRNN,
    front_end: FrontEnd,
    features: Features,
    *,
    source: Mapping[str, Any] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Equalisation scales and the smallest and largest value of every tensor.

    Args:
        model: trained, in evaluation mode.
        front_end: with normalisation.
        features: raw log-mel of each clip, (frames, mels); at most 128 of them are used, evenly spaced.
        source: what the clips are, for the record.
        progress: called with (batches done, batches in all).

    Raises:
        ExportError: no clips, NaN, or nothing but silence in them.
    """
    picked = np.unique(np.linspace(0, len(features) - 1, min(len(features), MOST_CLIPS)).round().astype(int))
    features = [features[i] for i in picked]
    batches = _batches(front_end, features)
    total, done = 2 * len(batches), 0
    lengths = sorted({batch.shape[3] for batch in batches})
    graphs = {frames: _graphs(model, frames) for frames in lengths}
    channels: dict[str, Tensor] = {}
    targets = {name for graph in graphs[lengths[0]] for name in equalisable(graph)}

    def observe_channels(name: str, value: Tensor) -> None:
        if name in targets:
            largest = value.abs().amax(dim=(0, 2, 3))
            channels[name] = torch.maximum(channels.get(name, largest), largest)

    ranges: dict[str, tuple[float, float]] = {}

    def observe_range(name: str, value: Tensor) -> None:
        low, high = (float(v) for v in value.aminmax())
        known = ranges.get(name, (low, high))
        ranges[name] = (min(known[0], low), max(known[1], high))

    for observe in (observe_channels, observe_range):
        if observe is observe_range:
            scales = {name: _equalising(largest) for name, largest in channels.items()}
            recorded = Calibration({}, scales)
            graphs = {frames: tuple(map(recorded.equalised, found)) for frames, found in graphs.items()}
        simulations = {frames: [Simulation(graph) for graph in found] for frames, found in graphs.items()}
        for batch in batches:
            _run(simulations[batch.shape[3]], batch, observe)
            done += 1
            if progress:
                progress(done, total)
    provenance = {
        **(source or {}),
        "clips": len(features),
        "levels_db": list(LEVELS),
        "method": "min/max after free equalisation",
    }
    return Calibration(ranges, scales, provenance)


def _batches(front_end: FrontEnd, features: Features) -> list[Tensor]:
    """Normalised log-mel at every level, (clips, 1, mel, time), clips of one number of whole steps together.

    Clips of less than a step are left out.
    """
    by_length: dict[int, list[npt.NDArray[np.float32]]] = {}
    for clip in features:
        if frames := len(clip) // 8 * 8:
            by_length.setdefault(frames, []).append(clip[:frames])
    if not by_length:
        raise ExportError(f"none of {len(features)} clips lasts a step of 8 frames (0.256 s); expected at least one")
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


def _graphs(model: CRNN, frames: int) -> tuple[Graph, ...]:
    if model.config.form == "causal":
        return (lower_step(model),)
    return lower_window(model, frames // 32, frames, recurrent=False), lower_gru(model)


def _run(simulations: list[Simulation], batch: Tensor, observe: Observer) -> None:
    if len(simulations) == 1:
        simulations[0].stream(batch, observe)
        return
    window, gru = simulations
    embeddings = window({"features": batch}, observe)["embeddings"]
    state = gru.initial(len(batch))
    for row in torch.split(embeddings, 1, dim=1):
        outputs = gru({"embedding": row, **state}, observe)
        state = {source.name: outputs[target.name] for source, target in gru.graph.states()}


def _equalising(largest: Tensor) -> tuple[float, ...]:
    """Scales that give every channel the largest magnitude of all; a channel that is always zero keeps its scale."""
    scale = torch.where(largest > 0, largest.max() / largest.clamp_min(1e-12), torch.ones_like(largest))
    return tuple(float(v) for v in scale.clamp_max(LARGEST_SCALE))
