"""The cost of a model: parameters, multiply-accumulates, cached values and receptive field."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from edge_asc.contract import STEP_FRAMES
from edge_asc.jsonobject import JsonValue
from edge_asc.models.crnn import CNN, CRNN, build
from edge_asc.models.layers import ResNorm, StreamConv

# Frames in windows of so many seconds, as windows are commonly compared (our own front end gives 31 and 312).
WINDOW_FRAMES = {1: 32, 10: 313}


@dataclass(frozen=True)
class Complexity:
    """The cost of a model, which does not depend on its weights.

    Multiply-accumulates are those of conv, linear and GRU weights. They include the auxiliary layer where the
    model has one: ten per channel and embedding, at most 1 in 2,000.

    Attributes:
        parameters: all of them, as the paper prints them.
        parameters_deployed: without the auxiliary layer, which is dropped at inference.
        macs_step: multiply-accumulates of one step of 8 frames; None where the model has no steps.
        macs_windows: multiply-accumulates of the windowed form on a window of so many seconds, 32 frames for
            1 s and 313 for 10 s.
        cache_floats: values that a stream carries for the convolutions; None where the model has no steps.
        receptive_field: frames that one output column of the backbone depends on; None with ResNorm, whose
            statistics span the whole input.
    """

    parameters: int
    parameters_deployed: int
    macs_step: int | None
    macs_windows: Mapping[int, int]
    cache_floats: int | None
    receptive_field: int | None

    def to_json(self) -> dict[str, JsonValue]:
        """Return a JSON object; the window lengths are strings."""
        return {**asdict(self), "macs_windows": {str(k): v for k, v in self.macs_windows.items()}}


def complexity(model: CRNN | CNN) -> Complexity:
    """Compute the cost of models of this configuration; `model` itself is not run."""
    steps, cache = None, None
    with torch.device("meta"):  # shapes without numbers, and without drawing from torch's generator
        windowed = build(replace(model.config, form="windowed")).eval()
        if isinstance(model, CRNN) and model.config.form == "causal":
            causal = CRNN(model.config).eval()
            steps = _macs(causal, STEP_FRAMES)
            state = causal.initial_state()
            cache = sum(v.numel() for name, v in state.items() if name.startswith("cache_"))
        windows = {seconds: _macs(windowed, frames) for seconds, frames in WINDOW_FRAMES.items()}
        field = _receptive_field(windowed)
    parameters = sum(p.numel() for p in model.parameters())
    return Complexity(parameters, deployed_parameters(model), steps, windows, cache, field)


def deployed_parameters(model: CRNN | CNN) -> int:
    """Return the number of parameters without the auxiliary layer, which is dropped at inference."""
    return sum(p.numel() for name, p in model.named_parameters() if not name.startswith("auxiliary."))


def _visit_layers(module: nn.Module, mels: int, frames: int, visit: Callable[[nn.Module, Tensor, Any], None]) -> None:
    """Run `module` on `frames` frames of zeros; call `visit` with every layer, its input and its output."""
    handles = [
        layer.register_forward_hook(lambda layer, inputs, output: visit(layer, inputs[0], output))
        for layer in module.modules()
    ]
    try:
        with torch.no_grad():
            module(torch.zeros(1, 1, mels, frames))
    finally:
        for handle in handles:
            handle.remove()


def _macs(model: CRNN | CNN, frames: int) -> int:
    total = 0

    def visit(layer: nn.Module, x: Tensor, y: Any) -> None:
        nonlocal total
        match layer:
            case StreamConv() | nn.Conv2d():
                total += y.numel() * layer.weight[0].numel()
            case nn.Linear():
                total += y.numel() * layer.in_features
            case nn.GRU():
                weights = (p.numel() for name, p in layer.named_parameters() if name.startswith("weight"))
                total += x.shape[1] * sum(weights)

    _visit_layers(model, model.config.mels, frames, visit)
    return total


def _receptive_field(model: CRNN | CNN) -> int | None:
    """1 + the sum of (kernel − 1) · stride so far: all layers with a kernel in time lie on one path."""
    if any(isinstance(layer, ResNorm) for layer in model.modules()):
        return None
    frames, field = 4 * STEP_FRAMES, 1

    def visit(layer: nn.Module, x: Tensor, _: Any) -> None:
        nonlocal field
        match layer:
            case StreamConv():
                field += (layer.kernel[1] - 1) * (frames // x.shape[3])
            case nn.MaxPool2d(kernel_size=int(size)):
                field += (size - 1) * (frames // x.shape[3])

    _visit_layers(model.backbone, model.config.mels, frames, visit)
    return field
