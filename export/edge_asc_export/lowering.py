"""From a trained PyTorch model to its export form: normalisation folded, caches and GRU state explicit."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import fx, nn

from edge_asc.contract import STEP_FRAMES
from edge_asc.errors import ExportError
from edge_asc.models.crnn import CRNN, HIDDEN, MELS
from edge_asc.models.layers import InputNorm, MelMean, ResNorm, StreamConv, SubSpectralNorm
from edge_asc_export.graph import (
    GRU,
    Add,
    Array,
    Concat,
    Conv,
    Graph,
    Linear,
    MaxPool,
    Multiply,
    Node,
    Port,
    Reshape,
    Shape,
    Sigmoid,
    Slice,
    Tanh,
    output_shape,
)


class _Tracer(fx.Tracer):
    LEAVES = (StreamConv, InputNorm, SubSpectralNorm, MelMean, ResNorm)

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, self.LEAVES) or super().is_leaf_module(m, module_qualified_name)


@dataclass(frozen=True)
class _Scaled:
    """A tensor times a per-channel scale plus a shift, waiting to be folded into the convolution that reads it."""

    tensor: str
    scale: Array
    shift: Array


class _Builder:
    """Collects nodes; the last node of a tensor can be replaced while nothing has read it."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.shapes: dict[str, Shape] = {}
        self.constants: dict[str, Array] = {}

    def add(self, node: Node) -> str:
        if node.output in self.nodes:
            raise ExportError(f"two tensors are called {node.output!r}; rename a layer of the model")
        self.nodes[node.output] = node
        self.shapes[node.output] = output_shape(node, self.shapes)
        return node.output

    def constant(self, name: str, value: Array) -> str:
        self.constants[name] = value
        self.shapes[name] = value.shape
        return name

    def replace(self, tensor: str, **changes: Any) -> str:
        self.nodes[tensor] = replace(self.nodes[tensor], **changes)
        return tensor

    def remove(self, tensor: str) -> Node:
        del self.shapes[tensor]
        return self.nodes.pop(tensor)


def _numpy(tensor: torch.Tensor) -> Array:
    return tensor.detach().cpu().numpy().astype(np.float32)


def _affine(norm: nn.BatchNorm1d | nn.BatchNorm2d) -> tuple[Array, Array]:
    """The scale and shift that a batch normalisation is at inference, in float64 until the end."""
    if norm.running_mean is None or norm.running_var is None:
        raise ExportError("a batch normalisation has no running statistics; train the model first")
    scale = norm.weight.detach().double() / torch.sqrt(norm.running_var.double() + norm.eps)
    shift = norm.bias.detach().double() - norm.running_mean.double() * scale
    return _numpy(scale), _numpy(shift)


class _Lowering:
    """Walks the traced backbone and emits nodes."""

    def __init__(self, model: CRNN, builder: _Builder) -> None:
        self.builder, self.values = builder, dict[fx.Node, str | _Scaled]()
        self.traced = _Tracer().trace(model.backbone)
        self.modules = dict(model.backbone.named_modules())
        self.caches: list[tuple[str, str]] = []

    def run(self, features: str) -> str | _Scaled:
        for node in self.traced.nodes:
            match node.op:
                case "placeholder" if node.target == "x":
                    self.values[node] = features
                case "placeholder":
                    continue
                case "call_module":
                    module = self.modules[str(node.target)]
                    self.values[node] = self._module(str(node.target).replace(".", "_"), module, node)
                case "call_function" if node.target is operator.add:
                    left, right = (self._tensor(arg) for arg in node.args)
                    if self.builder.shapes[left] < self.builder.shapes[right]:
                        left, right = right, left
                    self.values[node] = self.builder.add(Add(node.name, left, right))
                case "output":
                    return self.values[node.args[0]]
                case _:
                    raise ExportError(f"operation {node.format_node()} has no export form")
        raise ExportError("the traced backbone has no output")

    def _tensor(self, node: Any) -> str:
        value = self.values[node]
        if isinstance(value, _Scaled):
            raise ExportError(f"the normalisation before {node} cannot be folded into what follows it")
        return value

    def _module(self, name: str, module: nn.Module, node: fx.Node) -> str | _Scaled:
        source = node.args[0]
        if isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d):
            return self.values[source]  # type: ignore[index]
        x = self._tensor(source)
        sole = len(source.users) == 1  # type: ignore[union-attr]
        match module:
            case StreamConv():
                return self._conv(name, module, x)
            case nn.BatchNorm2d():
                scale, shift = _affine(module)
                producer = self.builder.nodes.get(x)
                if isinstance(producer, Conv) and sole and not producer.relu:
                    return self.builder.replace(x, weight=producer.weight * scale, bias=producer.bias * scale + shift)
                return _Scaled(x, scale, shift)
            case SubSpectralNorm():
                return self._bands(x, module)
            case InputNorm():
                scale, shift = (v.reshape(-1, 1, 1) for v in _affine(module.norm))
                scaled = self.builder.add(Multiply(f"{name}_scaled", x, self.builder.constant(f"{name}_scale", scale)))
                return self.builder.add(Add(name, scaled, self.builder.constant(f"{name}_shift", shift)))
            case nn.ReLU():
                producer = self.builder.nodes.get(x)
                if not isinstance(producer, Conv | Add) or not sole:
                    raise ExportError(f"{name}: a ReLU is exported only on a convolution or a sum of its own")
                return self.builder.replace(x, relu=True)
            case nn.SiLU():
                gate = self.builder.add(Sigmoid(f"{name}_gate", x))
                return self.builder.add(Multiply(name, x, gate))
            case MelMean():
                mels, _, channels = self.builder.shapes[x]
                weight = np.full((mels, 1, 1, channels), 1.0 / mels, np.float32)
                return self.builder.add(Conv(name, x, weight, np.zeros(channels, np.float32), depthwise=True))
            case nn.MaxPool2d():
                return self.builder.add(MaxPool(name, x))
            case ResNorm():
                raise ExportError(
                    "ResNorm has no export form: its statistics span the window and would be computed in float; "
                    "train the windowed model without it"
                )
            case _:
                raise ExportError(f"{name}: a {type(module).__name__} has no export form")

    def _conv(self, name: str, layer: StreamConv, x: str) -> str:
        if layer.cached_columns:
            mels, _, channels = self.builder.shapes[x]
            cache = layer.cache_name
            self.builder.shapes[cache] = (mels, layer.cached_columns, channels)
            x = self.builder.add(Concat(f"{name}_extended", (cache, x), axis=1))
            time = self.builder.shapes[x][1]
            begin = time - layer.cached_columns
            kept = self.builder.add(Slice(f"{cache}_next", x, axis=1, begin=begin, size=layer.cached_columns))
            self.caches.append((cache, kept))
        pad = layer.mel_padding
        left, right = (0, 0) if layer.cached_columns else layer.time_padding
        return self.builder.add(_convolution(name, x, layer.conv, ((pad, pad), (left, right)), self.builder))

    def _bands(self, x: str, module: SubSpectralNorm) -> str:
        """Fold a SubSpectralNorm into the mel-depthwise convolution before it: one convolution for each band."""
        conv = self.builder.nodes.get(x)
        if not isinstance(conv, Conv) or not conv.depthwise or conv.stride != (1, 1) or conv.relu:
            raise ExportError(f"{x}: SubSpectralNorm is exported only after a mel-depthwise convolution of stride 1")
        self.builder.remove(x)
        scale, shift = (v.reshape(-1, module.bands) for v in _affine(module.norm))
        mels = self.builder.shapes[conv.input][0]
        size, halo = mels // module.bands, conv.weight.shape[0] // 2
        parts = []
        for band in range(module.bands):
            low, high = max(0, band * size - halo), min(mels, (band + 1) * size + halo)
            rows = self.builder.add(Slice(f"{x}_rows{band}", conv.input, axis=0, begin=low, size=high - low))
            padding = ((halo - (band * size - low), halo - (high - (band + 1) * size)), conv.padding[1])
            weight, bias = conv.weight * scale[:, band], conv.bias * scale[:, band] + shift[:, band]
            part = replace(conv, output=f"{x}_band{band}", input=rows, weight=weight, bias=bias, padding=padding)
            parts.append(self.builder.add(part))
        return self.builder.add(Concat(x, tuple(parts), axis=0))


def _convolution(
    name: str, x: str, conv: nn.Conv2d, padding: tuple[tuple[int, int], tuple[int, int]], builder: _Builder
) -> Conv:
    depthwise = conv.groups > 1
    weight = _numpy(conv.weight)
    weight = weight.transpose(2, 3, 1, 0)
    bias = np.zeros(weight.shape[3], np.float32) if conv.bias is None else _numpy(conv.bias)
    stride = (int(conv.stride[0]), int(conv.stride[1]))
    return Conv(name, x, weight, bias, stride, padding, depthwise)


def _embedding(model: CRNN, x: str | _Scaled, builder: _Builder) -> str:
    """The embedding layer, and its columns as rows: (n, channels)."""
    layer = model.embedding
    none = ((0, 0), (0, 0))
    tensor = x.tensor if isinstance(x, _Scaled) else x
    mel = _convolution("embedding_mel", tensor, layer.mel, none, builder)
    if isinstance(x, _Scaled):
        bias = mel.bias + (mel.weight * x.shift).sum(axis=(0, 1, 2))
        mel = replace(mel, weight=mel.weight * x.scale, bias=bias)
    scale, shift = _affine(layer.norm)
    builder.add(replace(mel, weight=mel.weight * scale, bias=mel.bias * scale + shift))
    builder.add(replace(_convolution("embedding", "embedding_mel", layer.project, none, builder), relu=True))
    _, rows, channels = builder.shapes["embedding"]
    return builder.add(Reshape("embedding_rows", "embedding", (rows, channels)))


def _recurrent(model: CRNN, rows: str, builder: _Builder) -> tuple[list[Port], list[Port]]:
    """The GRU and the output layer; the ports of the hidden states and of the logits."""
    inputs, outputs = [], []
    for i in range(model.gru.num_layers):
        hidden = f"hidden_{i}"
        builder.shapes[hidden] = (1, HIDDEN)
        parts = (
            _numpy(getattr(model.gru, f"{kind}_l{i}")) for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        rows = last = builder.add(GRU(f"gru_{i}", rows, hidden, *parts))
        if (count := builder.shapes[rows][0]) > 1:
            last = builder.add(Slice(f"{hidden}_last", rows, axis=0, begin=count - 1, size=1))
        inputs.append(Port(hidden, hidden, "state"))
        outputs.append(Port(f"{hidden}_next", last, "state", feeds=hidden))
    logits = builder.add(Linear("logits", rows, _numpy(model.output.weight), _numpy(model.output.bias)))
    return inputs, [Port("logits", logits, "logits"), *outputs]


def _graph(builder: _Builder, name: str, frames: int, inputs: list[Port], outputs: list[Port]) -> Graph:
    return Graph(
        name,
        frames,
        tuple(inputs),
        tuple(outputs),
        tuple(builder.nodes.values()),
        builder.shapes,
        builder.constants,
    )


def lower_step(model: CRNN) -> Graph:
    """The step of a causal model: 8 frames, caches and hidden states in; logits and the next states out."""
    if model.config.form != "causal":
        raise ExportError("a windowed model has no step; export its windows")
    builder = _Builder()
    builder.shapes["features"] = (MELS, STEP_FRAMES, 1)
    lowering = _Lowering(model, builder)
    rows = _embedding(model, lowering.run("features"), builder)
    hidden_in, outputs = _recurrent(model, rows, builder)
    caches_in = [Port(cache, cache, "state") for cache, _ in lowering.caches]
    caches_out = [Port(kept, kept, "state", feeds=cache) for cache, kept in lowering.caches]
    inputs = [Port("features", "features", "features"), *caches_in, *hidden_in]
    return _graph(builder, "step", STEP_FRAMES, inputs, [*outputs, *caches_out])


def lower_window(model: CRNN, seconds: int, frames: int, *, recurrent: bool) -> Graph:
    """A windowed model over `seconds` of audio, `frames` of log-mel.

    With `recurrent`, features and hidden states go in, the logits after each embedding and the last hidden states
    come out; without it, the embeddings, one a row, and `lower_gru` is the rest.
    """
    if model.config.form != "windowed":
        raise ExportError("a causal model streams in steps; windows are exported of a windowed model")
    builder = _Builder()
    builder.shapes["features"] = (MELS, frames, 1)
    rows = _embedding(model, _Lowering(model, builder).run("features"), builder)
    hidden, outputs = _recurrent(model, rows, builder) if recurrent else ([], [Port("embeddings", rows, "embedding")])
    inputs = [Port("features", "features", "features"), *hidden]
    return _graph(builder, f"window_{seconds}s", frames, inputs, outputs)


def lower_gru(model: CRNN) -> Graph:
    """The recurrent part of a windowed model: an embedding and the hidden states in, logits and the next states out."""
    builder = _Builder()
    builder.shapes["embedding_rows"] = (1, model.backbone.channels)
    inputs, outputs = _recurrent(model, "embedding_rows", builder)
    return _graph(builder, "gru", 0, [Port("embedding", "embedding_rows", "embedding"), *inputs], outputs)


def expand_gru(graph: Graph) -> Graph:
    """The graph with every GRU layer, over one row, written as linear layers and element-wise operations.

    h' = σ(z)·h + σ(−z)·n, with the rows r, z and −z of both linear layers stacked: no subtraction is needed, which
    not every integer kernel has.
    """
    builder = _Builder()
    builder.shapes.update({port.tensor: graph.shapes[port.tensor] for port in graph.inputs})
    builder.constants.update(graph.constants)
    builder.shapes.update({name: value.shape for name, value in graph.constants.items()})
    for node in graph.nodes:
        if isinstance(node, GRU):
            _expand(node, builder)
        else:
            builder.add(node)
    return replace(graph, nodes=tuple(builder.nodes.values()), shapes=builder.shapes)


def _expand(gru: GRU, builder: _Builder) -> None:
    n, name = gru.units, gru.output
    if builder.shapes[gru.input][0] != 1:
        raise ExportError(f"{name}: {builder.shapes[gru.input][0]} rows; a GRU is expanded for one row only")

    def gates(weight: Array) -> Array:
        return np.concatenate((weight[: 2 * n], -weight[n : 2 * n]))

    def linear(label: str, x: str, weight: Array, bias: Array) -> str:
        return builder.add(Linear(f"{name}_{label}", x, weight, bias))

    gx = linear("gates_input", gru.input, gates(gru.weight), gates(gru.bias))
    gh = linear("gates_hidden", gru.hidden, gates(gru.recurrent), gates(gru.recurrent_bias))
    opened = builder.add(Sigmoid(f"{name}_gates", builder.add(Add(f"{name}_gates_sum", gx, gh))))
    labels = ("reset", "keep", "renew")
    reset, keep, renew = (
        builder.add(Slice(f"{name}_{label}", opened, axis=1, begin=i * n, size=n)) for i, label in enumerate(labels)
    )
    nx = linear("new_input", gru.input, gru.weight[2 * n :], gru.bias[2 * n :])
    nh = linear("new_hidden", gru.hidden, gru.recurrent[2 * n :], gru.recurrent_bias[2 * n :])
    gated = builder.add(Multiply(f"{name}_new_gated", nh, reset))
    new = builder.add(Tanh(f"{name}_new", builder.add(Add(f"{name}_new_sum", nx, gated))))
    kept = builder.add(Multiply(f"{name}_kept", gru.hidden, keep))
    renewed = builder.add(Multiply(f"{name}_renewed", new, renew))
    builder.add(Add(name, kept, renewed))
