"""From a trained PyTorch model to its export form: normalisation folded, caches and GRU state explicit.

The backbone is traced by torch.fx down to its layers. How a layer is lowered is registered in
`edge_asc_export.layers`, or is a method of the layer (edge_asc/models/lowering.py); this module knows none of them.
"""

from __future__ import annotations

import operator
from dataclasses import replace

import torch
from torch import fx, nn

from edge_asc.contract import STEP_FRAMES
from edge_asc.errors import ExportError
from edge_asc.models.crnn import CRNN
from edge_asc_export.builder import NO_PADDING, Builder
from edge_asc_export.graph import GRU, Graph, Linear, Port, Reshape
from edge_asc_export.layers import Scaled, Site, affine_of, convolution, has_export_form, lower_layer, to_numpy


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return has_export_form(m) or super().is_leaf_module(m, module_qualified_name)


class _Backbone:
    """Walks a traced backbone and emits its nodes."""

    def __init__(self, backbone: nn.Module, builder: Builder) -> None:
        self.builder, self.values = builder, dict[fx.Node, str | Scaled]()
        try:
            self.traced = _Tracer().trace(backbone)
        except Exception as error:  # the forward pass of a backbone, which may raise anything
            raise ExportError(
                f"the backbone cannot be traced ({error}); expected a forward pass of modules and sums, without "
                "branches that depend on values"
            ) from error
        self.modules = dict(backbone.named_modules())

    def lower(self, features: str) -> str | Scaled:
        for node in self.traced.nodes:
            match node.op:
                case "placeholder":
                    # The features come first; what follows, the caches of a stream, is left out of the trace.
                    if not self.values:
                        self.values[node] = features
                case "call_module":
                    self.values[node] = self._lower_module(node)
                case "call_function" if node.target is operator.add:
                    left, right = (self._tensor(arg) for arg in node.args)
                    if self.builder.shapes[left] < self.builder.shapes[right]:
                        left, right = right, left
                    self.values[node] = self.builder.add(node.name, left, right)
                case "output":
                    return self.values[node.args[0]]
                case _:
                    raise ExportError(f"operation {node.format_node()} has no export form")
        raise ExportError("the traced backbone has no output")

    def _lower_module(self, node: fx.Node) -> str | Scaled:
        target, source = str(node.target), node.args[0]
        assert isinstance(source, fx.Node)
        name, value = target.replace(".", "_"), self.values[source]
        return lower_layer(self.modules[target], Site(self.builder, name, value, len(source.users) == 1))

    def _tensor(self, node: object) -> str:
        assert isinstance(node, fx.Node)
        value = self.values[node]
        if isinstance(value, Scaled):
            raise ExportError(f"the normalisation before {node} cannot be folded into what follows it")
        return value


def _lower_embedding(model: CRNN, x: str | Scaled, builder: Builder) -> str:
    """Emit the embedding layer, and its columns as rows: (n, channels)."""
    layer = model.embedding
    tensor = x.tensor if isinstance(x, Scaled) else x
    mel = convolution("embedding_mel", tensor, layer.mel, NO_PADDING)
    if isinstance(x, Scaled):
        bias = mel.bias + (mel.weight * x.shift).sum(axis=(0, 1, 2))
        mel = replace(mel, weight=mel.weight * x.scale, bias=bias)
    scale, shift = affine_of(layer.norm)
    builder.emit(replace(mel, weight=mel.weight * scale, bias=mel.bias * scale + shift))
    builder.emit(replace(convolution("embedding", "embedding_mel", layer.project, NO_PADDING), relu=True))
    _, rows, channels = builder.shapes["embedding"]
    return builder.emit(Reshape("embedding_rows", "embedding", (rows, channels)))


def _lower_recurrent(model: CRNN, rows: str, builder: Builder) -> tuple[list[Port], list[Port]]:
    """Emit the GRU and the output layer; return the ports of the hidden states and of logits and next states."""
    inputs, outputs = [], []
    kinds = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    for i in range(model.gru.num_layers):
        hidden = f"hidden_{i}"
        builder.shapes[hidden] = (1, model.gru.hidden_size)
        parts = (to_numpy(getattr(model.gru, f"{kind}_l{i}")) for kind in kinds)
        rows = builder.emit(GRU(f"gru_{i}", rows, hidden, *parts))
        inputs.append(Port(hidden, hidden, "state"))
        outputs.append(Port(f"{hidden}_next", rows, "state", feeds=hidden))
    logits = builder.emit(Linear("logits", rows, to_numpy(model.output.weight), to_numpy(model.output.bias)))
    return inputs, [Port("logits", logits, "logits"), *outputs]


@torch.no_grad()
def lower_step(model: CRNN) -> Graph:
    """Lower the step of a causal model: 8 frames, caches and hidden states to logits and the next states.

    Raises:
        ExportError: the model is windowed, or a layer of it has no export form.
    """
    if model.config.form != "causal":
        raise ExportError("a windowed model has no step; export its windows")
    builder = Builder()
    builder.shapes["features"] = (model.config.mels, STEP_FRAMES, 1)
    rows = _lower_embedding(model, _Backbone(model.backbone, builder).lower("features"), builder)
    hidden_in, outputs = _lower_recurrent(model, rows, builder)
    caches_in = [Port(cache, cache, "state") for cache, _ in builder.caches]
    caches_out = [Port(kept, kept, "state", feeds=cache) for cache, kept in builder.caches]
    inputs = [Port("features", "features", "features"), *caches_in, *hidden_in]
    return builder.graph("step", STEP_FRAMES, inputs, [*outputs, *caches_out])


@torch.no_grad()
def lower_window(model: CRNN, seconds: int, frames: int) -> Graph:
    """Lower a windowed model over `seconds` of audio, `frames` of log-mel, to its embeddings, one a row.

    `lower_gru` is the rest, and `builder.attach_gru` joins both.

    Raises:
        ExportError: the model is causal, or a layer of it has no export form.
    """
    if model.config.form != "windowed":
        raise ExportError("a causal model streams in steps; windows are exported of a windowed model")
    builder = Builder()
    builder.shapes["features"] = (model.config.mels, frames, 1)
    rows = _lower_embedding(model, _Backbone(model.backbone, builder).lower("features"), builder)
    inputs, outputs = [Port("features", "features", "features")], [Port("embeddings", rows, "embedding")]
    return builder.graph(f"window_{seconds}s", frames, inputs, outputs)


@torch.no_grad()
def lower_gru(model: CRNN) -> Graph:
    """Lower the recurrent part of a windowed model: an embedding and hidden states to logits and the next states."""
    builder = Builder()
    builder.shapes["embedding_rows"] = (1, model.backbone.channels)
    inputs, outputs = _lower_recurrent(model, "embedding_rows", builder)
    return builder.graph("gru", 0, [Port("embedding", "embedding_rows", "embedding"), *inputs], outputs)
