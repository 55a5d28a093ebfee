"""The signature of a graph in an artefact's own layout, as the contract states it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from edge_asc.contract import INT16, Affine, Signature, TensorSpec
from edge_asc_export.graph import Graph, Port, Shape
from edge_asc_export.pipeline import Lowered

Layout = Literal["channels_first", "channels_last"]
# numpy's name of a tensor's type, and the quantisation parameters of an integer one.
Type = tuple[str, Affine | None]

# The state of a step that takes samples: those before its own that its first frame reaches back to.
HISTORY = "history"

AXES = {
    "channels_first": ("batch", "channel", "time", "mel"),
    "channels_last": ("batch", "time", "mel", "channel"),
}


def to_layout(shape: Shape, layout: Layout) -> Shape:
    """Turn a graph's shape into an artefact's: (mel, time, channel) gets a batch axis and a layout; others stay."""
    if len(shape) != 3:
        return shape
    mel, time, channel = shape
    return (1, channel, time, mel) if layout == "channels_first" else (1, time, mel, channel)


def signature_of(graph: Graph, layout: Layout, hop: int, type_of: Callable[[str], Type]) -> Signature:
    """Return the signature of a graph.

    Args:
        graph: as it is written.
        layout: of its tensors.
        hop: samples a frame.
        type_of: the type of a state, by tensor name; all else is float32.
    """

    def spec(port: Port) -> TensorSpec:
        shape = graph.shapes[port.tensor]
        axes = AXES[layout] if len(shape) == 3 else ("time" if shape[0] > 1 else "batch", "unit")
        dtype, quantisation = type_of(port.tensor) if port.role == "state" else ("float32", None)
        if port.role == "samples" or port.name == HISTORY:
            axes = ("batch", "time")
        if port.int16:
            dtype, quantisation = "int16", INT16
        return TensorSpec(port.name, port.role, to_layout(shape, layout), axes, dtype, quantisation, port.feeds)

    inputs, outputs = (tuple(spec(port) for port in ports) for ports in (graph.inputs, graph.outputs))
    return Signature(graph.name, graph.frames, graph.frames * hop, inputs, outputs)


def lowered_signature(lowered: Lowered, hop: int) -> Signature:
    """Return the signature of a lowered graph whose tensors are channels last, for `hop` samples a frame."""
    activations = lowered.plan.scheme.activations

    def state_type(tensor: str) -> Type:
        return (activations, lowered.qparams[tensor]) if tensor in lowered.qparams else ("float32", None)

    return signature_of(lowered.graph, "channels_last", hop, state_type)
