"""Expand the GRU: write every layer as linear layers and element-wise operations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge_asc.errors import ExportError
from edge_asc_export.builder import Builder
from edge_asc_export.graph import GRU, Add, Array, Graph, Linear, Multiply, Sigmoid, Slice, Tanh
from edge_asc_export.pipeline import Pass


def expand_gru(graph: Graph) -> Graph:
    """Return the graph with every GRU layer, over one row, as linear layers and element-wise operations.

    h' = σ(z)·h + σ(−z)·n, with the rows r, z and −z of both linear layers stacked: no subtraction is needed, which
    some engines' integer kernels lack.

    Raises:
        ExportError: a GRU reads several rows.
    """
    builder = Builder.on_inputs_of(graph)
    for node in graph.nodes:
        if isinstance(node, GRU):
            _expand(node, builder)
        else:
            builder.emit(node)
    return replace(graph, nodes=tuple(builder.nodes.values()), shapes=builder.shapes)


def _expand(gru: GRU, builder: Builder) -> None:
    n, name = gru.units, gru.output
    if builder.shapes[gru.input][0] != 1:
        raise ExportError(f"{name}: {builder.shapes[gru.input][0]} rows; a GRU is expanded for one row only")

    def gates(weight: Array) -> Array:
        return np.concatenate((weight[: 2 * n], -weight[n : 2 * n]))

    def linear(label: str, x: str, weight: Array, bias: Array) -> str:
        return builder.emit(Linear(f"{name}_{label}", x, weight, bias))

    gx = linear("gates_input", gru.input, gates(gru.weight), gates(gru.bias))
    gh = linear("gates_hidden", gru.hidden, gates(gru.recurrent), gates(gru.recurrent_bias))
    opened = builder.emit(Sigmoid(f"{name}_gates", builder.emit(Add(f"{name}_gates_sum", gx, gh))))
    labels = ("reset", "keep", "renew")
    reset, keep, renew = (
        builder.emit(Slice(f"{name}_{label}", opened, axis=1, begin=i * n, size=n)) for i, label in enumerate(labels)
    )
    nx = linear("new_input", gru.input, gru.weight[2 * n :], gru.bias[2 * n :])
    nh = linear("new_hidden", gru.hidden, gru.recurrent[2 * n :], gru.recurrent_bias[2 * n :])
    gated = builder.emit(Multiply(f"{name}_new_gated", nh, reset))
    new = builder.emit(Tanh(f"{name}_new", builder.emit(Add(f"{name}_new_sum", nx, gated))))
    kept = builder.emit(Multiply(f"{name}_kept", gru.hidden, keep))
    renewed = builder.emit(Multiply(f"{name}_renewed", new, renew))
    builder.emit(Add(name, kept, renewed))


PASS = Pass(
    name="expand the GRU",
    needs="GRU layers that read one row",
    exact="torch's equations, with 1 − σ(z) written as σ(−z)",
    run=lambda lowered: lowered.with_graph(expand_gru(lowered.graph)),
)
