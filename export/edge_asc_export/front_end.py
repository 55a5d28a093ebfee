"""The front end in export form: nodes that turn samples into the features that a lowered graph takes.

Only matrix products, sums, products and logarithms, which every engine has. A real Fourier transform of N = N₁ · N₂
points is two of them (Cooley and Tukey, 1965): with n = N₂·n₁ + n₂ and k = k₁ + N₁·k₂,

    X[k] = Σ_n₂ e^(−2πi n₂k₂/N₂) · e^(−2πi n₂k₁/N) · Σ_n₁ x[n] e^(−2πi n₁k₁/N₁).

The samples are real, so that k₁ = 0 … N₁/2 give all bins: X[N − k] is the conjugate of X[k]. The second matrix has its
columns in such an order that the bins from N₁·j to N₁·(j + 1) are neighbours, for each j: a group of mel filters reads
a slice of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from edge_asc.contract import InputKind
from edge_asc.errors import ExportError
from edge_asc.frontend import FrontEnd, hann_window
from edge_asc_export.builder import Builder
from edge_asc_export.graph import (
    Array,
    Clip,
    Columns,
    Concat,
    FromInt16,
    Graph,
    Log,
    Port,
    Product,
    Slice,
    Transpose,
    View,
)
from edge_asc_export.signature import HISTORY

# Mel filters of one matrix product: fewer make smaller matrices, and more operations.
GROUP = 24
# XNNPACK concatenates no more tensors at once.
MOST_PARTS = 4

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Transform:
    """The matrices of a real Fourier transform of `first` · `second` points, float32.

    Attributes:
        first, second: N₁ and N₂, both even.
        inner: real samples to real and imaginary parts, (N₁ + 2, N₁).
        cosine, sine: of the twiddle factors, (N₁/2 + 1, 2·N₂), for [real, imaginary] and [imaginary, real].
        real, imaginary: [real, imaginary] to the parts of the result, (N₂, 2·N₂).
        bins: bin of each result, (N₁/2 + 1, N₂).
    """

    first: int
    second: int
    inner: Array
    cosine: Array
    sine: Array
    real: Array
    imaginary: Array
    bins: Indices

    @classmethod
    def of(cls, points: int) -> Transform:
        """Return the transform with the fewest products.

        Raises:
            ExportError: the number of points is no product of two even numbers.
        """
        factors = [(n, points // n) for n in range(2, points // 2 + 1, 2) if points % n == 0 and points // n % 2 == 0]
        if not factors:
            raise ExportError(
                f"the window has {points} samples; expected a multiple of 4 for samples as input: use --input features"
            )
        first, second = min(factors, key=lambda pair: pair[1] * pair[0] ** 2 + 2 * pair[0] * pair[1] ** 2)
        rows, columns = np.arange(first // 2 + 1), np.arange(second // 2)
        inner = _angles(rows, np.arange(first), first)
        twiddle = _angles(rows, np.arange(second), points)
        last = np.stack((columns, second - 1 - columns), axis=1).reshape(-1)
        outer = _angles(last, np.arange(second), second)
        bins = np.stack((rows[:, None] + first * columns, first * (columns + 1) - rows[:, None]), axis=2)
        return cls(
            first,
            second,
            _single(np.concatenate((np.cos(inner), -np.sin(inner)))),
            _single(np.concatenate((np.cos(twiddle), np.cos(twiddle)), axis=1)),
            _single(np.concatenate((np.sin(twiddle), -np.sin(twiddle)), axis=1)),
            _single(np.concatenate((np.cos(outer), np.sin(outer)), axis=1)),
            _single(np.concatenate((-np.sin(outer), np.cos(outer)), axis=1)),
            bins.reshape(len(rows), second),
        )


def attach_front_end(graph: Graph, front_end: FrontEnd, kind: InputKind) -> Graph:
    """Put the front end before a graph that takes features: the new graph takes the samples that these are of.

    A step gets the samples before its own as a state; before the samples of a window stand zeros. A graph without
    features, such as a GRU, is returned as it is.

    Args:
        graph: as the passes left it.
        front_end: with normalisation.
        kind: "samples", float in [−1, 1]; "int16", integers over 2¹⁵; "features" changes nothing.

    Raises:
        ExportError: the window is no multiple of the hop, or not one of 4.
    """
    if kind == "features" or not any(port.role == "features" for port in graph.inputs):
        return graph
    if front_end.window % front_end.hop:
        raise ExportError(
            f"the window has {front_end.window} samples; expected a multiple of the hop, {front_end.hop}, for samples "
            "as input: use --input features"
        )
    builder = Builder()
    has_state = graph.name == "step"
    audio = _emit_samples(builder, graph.frames, front_end, kind, has_state=has_state)
    mel = _emit_mel_power(builder, audio, graph.frames, front_end)
    _emit_features(builder, mel, front_end)
    for name, value in graph.constants.items():
        builder.constant(name, value)
    shapes = {**graph.shapes, **builder.shapes}
    inputs = [Port("samples", "samples", "samples", int16=kind == "int16")]
    outputs = list(graph.outputs)
    if has_state:
        inputs.append(Port(HISTORY, HISTORY, "state"))
        outputs.append(Port(f"{HISTORY}_next", f"{HISTORY}_next", "state", feeds=HISTORY))
    inputs += [port for port in graph.inputs if port.role != "features"]
    nodes = (*builder.nodes.values(), *graph.nodes)
    return replace(
        graph, inputs=tuple(inputs), outputs=tuple(outputs), nodes=nodes, shapes=shapes, constants=builder.constants
    )


def detach_front_end(graph: Graph) -> Graph:
    """Return the graph that `attach_front_end` put a front end before; a graph that takes features as it is."""
    if not any(port.role == "samples" for port in graph.inputs):
        return graph
    last = next(index for index, node in enumerate(graph.nodes) if node.output == "features")
    inputs = [port for port in graph.inputs if port.role != "samples" and port.name != HISTORY]
    return replace(
        graph,
        inputs=(Port("features", "features", "features"), *inputs),
        outputs=tuple(port for port in graph.outputs if port.feeds != HISTORY),
        nodes=graph.nodes[last + 1 :],
    )


def _emit_samples(builder: Builder, frames: int, front_end: FrontEnd, kind: InputKind, *, has_state: bool) -> str:
    """Emit the samples of all frames, and those that are kept for the next step; return (hops, hop)."""
    hop, before = front_end.hop, front_end.window - front_end.hop
    builder.shapes["samples"] = (1, frames * hop)
    samples = "samples"
    if kind == "int16":
        samples = builder.emit(FromInt16("front_end_samples", samples))
    if has_state:
        builder.shapes[HISTORY] = (1, before)
    elif before:
        builder.constant("front_end_silence", np.zeros((1, before), np.float32))
    if before:
        parts = (HISTORY if has_state else "front_end_silence", samples)
        samples = builder.emit(Concat("front_end_audio", parts, axis=1))
    if has_state:
        builder.emit(Slice(f"{HISTORY}_next", samples, axis=1, begin=frames * hop, size=before))
    return builder.emit(View("front_end_hops", samples, ((frames * hop + before) // hop, hop)))


def _emit_mel_power(builder: Builder, hops: str, frames: int, front_end: FrontEnd) -> str:
    """Emit windows, their transform and the mel filters; return the mel power, (frames, mels)."""
    transform = Transform.of(front_end.window)
    first, second, rows = transform.first, transform.second, transform.first // 2 + 1
    parts = [
        builder.emit(Slice(f"front_end_hops_{i}", hops, axis=0, begin=i, size=frames))
        for i in range(front_end.window // front_end.hop)
    ]
    x = builder.emit(Concat("front_end_frames", tuple(parts), axis=1))
    x = builder.multiply(
        "front_end_windows", x, builder.constant("front_end_hann", hann_window(front_end.window)[None])
    )
    x = builder.emit(View("front_end_blocks", x, (1, frames, first, second)))
    x = builder.emit(Product("front_end_inner", builder.emit(Transpose("front_end_turned", x)), transform.inner))
    x = builder.emit(Transpose("front_end_parts", x))
    real, imaginary = (
        builder.emit(Slice(f"front_end_{name}", x, axis=2, begin=i * rows, size=rows))
        for i, name in enumerate(("real", "imaginary"))
    )
    both = builder.emit(Concat("front_end_both", (real, imaginary), axis=3))
    swapped = builder.emit(Concat("front_end_swapped", (imaginary, real), axis=3))
    cosine = builder.constant("front_end_cosine", transform.cosine[None, None])
    sine = builder.constant("front_end_sine", transform.sine[None, None])
    x = builder.add(
        "front_end_twiddled",
        builder.multiply("front_end_twiddled_cosine", both, cosine),
        builder.multiply("front_end_twiddled_sine", swapped, sine),
    )
    squares = []
    for name, matrix in (("real", transform.real), ("imaginary", transform.imaginary)):
        part = builder.emit(Product(f"front_end_outer_{name}", x, matrix))
        squares.append(builder.multiply(f"front_end_square_{name}", part, part))
    power = builder.add("front_end_power", *squares)
    return _emit_mel(builder, power, frames, front_end.mel_matrix, transform)


def _emit_mel(builder: Builder, power: str, frames: int, filters: Array, transform: Transform) -> str:
    """Emit the mel filters, (mels, bins), of power in the order of a transform, in groups; return (frames, mels)."""
    mels, rows = len(filters), transform.first // 2 + 1
    _, places = np.unique(transform.bins, return_index=True)  # a bin that is there twice is read once
    flat = np.zeros((mels, transform.bins.size), np.float32)
    flat[:, places] = filters
    spread = flat.reshape(mels, rows, transform.second)
    groups = []
    for begin in range(0, mels, GROUP):
        weight = spread[begin : begin + GROUP]
        columns = np.flatnonzero(weight.any(axis=(0, 1)))
        low, size = (int(columns[0]), int(np.ptp(columns)) + 1) if len(columns) else (0, 1)
        x = builder.emit(Slice(f"front_end_bins_{begin}", power, axis=3, begin=low, size=size))
        x = builder.emit(View(f"front_end_bins_{begin}_row", x, (frames, rows * size)))
        matrix = np.ascontiguousarray(weight[:, :, low : low + size]).reshape(len(weight), -1)
        groups.append(builder.emit(Product(f"front_end_mel_{begin}", x, matrix)))
    return _join(builder, "front_end_mel", groups)


def _join(builder: Builder, name: str, parts: list[str]) -> str:
    """Concatenate rows, at most MOST_PARTS at once."""
    if len(parts) <= MOST_PARTS:
        return builder.emit(Concat(name, tuple(parts), axis=1))
    joined = [_join(builder, f"{name}_{i}_joined", parts[i : i + MOST_PARTS]) for i in range(0, len(parts), MOST_PARTS)]
    return _join(builder, name, joined)


def _emit_features(builder: Builder, mel: str, front_end: FrontEnd) -> None:
    """Emit logarithm and normalisation of mel power, (frames, mels), as features."""
    floor = builder.constant("front_end_floor", np.full((1, 1), front_end.floor, np.float32))
    x = builder.emit(Log("front_end_log", builder.add("front_end_raised", mel, floor)))
    if front_end.mean:
        mean = builder.constant("front_end_mean", -np.asarray(front_end.mean, np.float32)[None])
        scale = builder.constant("front_end_scale", np.asarray(front_end.scale, np.float32)[None])
        x = builder.multiply("front_end_scaled", builder.add("front_end_centred", x, mean), scale)
        x = builder.emit(Clip("front_end_clipped", x, -front_end.clip, front_end.clip))
    builder.emit(Columns("features", x))


def _angles(left: Indices, right: Indices, points: int) -> npt.NDArray[np.float64]:
    """Return 2π · left · right / points, (left, right), reduced so that they are exact."""
    return 2.0 * np.pi * (np.outer(left, right) % points) / points


def _single(values: npt.NDArray[np.float64]) -> Array:
    return values.astype(np.float32)
