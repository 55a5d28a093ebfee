"""Signatures of a CRNN as PyTorch runs it: tensors are (batch, channel, mel, time)."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import torch

from edge_asc.contract import STEP_FRAMES, Signature, TensorSpec
from edge_asc.frontend import FrontEnd
from edge_asc.models.crnn import CRNN

# Lengths of the windows that a windowed checkpoint offers, s.
SECONDS = range(1, 11)

PLANES = ("batch", "channel", "mel", "time")
ROW, ROWS = ("batch", "unit"), ("time", "unit")


def step_signatures(model: CRNN, front_end: FrontEnd) -> tuple[Signature, ...]:
    """Return the one signature of a causal model: "step"."""
    states = {name: tuple(value.shape) for name, value in model.initial_state().items()}
    features = TensorSpec("features", "features", (1, 1, front_end.mels, STEP_FRAMES), PLANES)
    inputs, outputs = (features, *_input_states(states)), (_logits(model), *_output_states(states))
    return (Signature("step", STEP_FRAMES, STEP_FRAMES * front_end.hop, inputs, outputs),)


def window_signatures(model: CRNN, front_end: FrontEnd) -> tuple[Signature, ...]:
    """Return the signatures of a windowed model: "window_1s" to "window_10s", and "gru"."""
    channels = model.gru.input_size
    shapes = copy.deepcopy(model).to("meta")  # computes shapes and nothing else
    signatures = []
    for seconds in SECONDS:
        frames = front_end.sample_rate * seconds // front_end.hop
        planes = (1, 1, front_end.mels, frames)
        rows = shapes.embed(torch.empty(planes, device="meta")).shape[1]
        features = TensorSpec("features", "features", planes, PLANES)
        embeddings = TensorSpec("embeddings", "embedding", (rows, channels), ROWS)
        signatures.append(Signature(f"window_{seconds}s", frames, frames * front_end.hop, (features,), (embeddings,)))
    states = {f"hidden_{i}": (1, model.gru.hidden_size) for i in range(model.gru.num_layers)}
    inputs = (TensorSpec("embedding", "embedding", (1, channels), ROW), *_input_states(states))
    outputs = (_logits(model), *_output_states(states))
    return (*signatures, Signature("gru", 0, 0, inputs, outputs))


def _logits(model: CRNN) -> TensorSpec:
    return TensorSpec("logits", "logits", (1, model.output.out_features), ROW)


def _input_states(states: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(name, "state", shape, _axes(shape)) for name, shape in states.items())


def _output_states(states: Mapping[str, tuple[int, ...]]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(f"{name}_next", "state", shape, _axes(shape), feeds=name) for name, shape in states.items())


def _axes(shape: tuple[int, ...]) -> tuple[str, ...]:
    return PLANES if len(shape) == 4 else ROW
