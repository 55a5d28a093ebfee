"""Random networks of the operations that backbones have, in other shapes and numbers, for measuring what each costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from edge_asc_export.builder import NO_PADDING, Builder
from edge_asc_export.graph import GRU, Array, Conv2D, Graph, Linear, Port, Reshape
from edge_asc_export.passes.expand_gru import expand_gru
from edge_asc_export.plan import Plan, SharedRange, sharing
from edge_asc_export.scheme import SCHEMES

CLASSES = 10
MELS, FRAMES = 256, 8
# Features span ±CLIP; recorded ranges do not matter for the cost.
CLIP = 6.0
BLOCKS = (4, 12)


class _Network:
    """Builds one network, block by block."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.builder = Builder()
        self.builder.shapes["features"] = (MELS, FRAMES, 1)
        self.ports: list[tuple[Port, Port]] = []
        self.count = 0

    def build(self) -> Graph:
        """Return the graph of a step."""
        stem = self.builder.extend_by_cache("stem", "features", "cache_stem", 3)
        x = self._convolve(stem, (5, 5), self._choose(16, 24, 32, 48, 64), stride=(2, 2), mel_padding=2)
        blocks: tuple[Callable[[str], str], ...] = (
            self._pointwise,
            self._residual,
            self._full,
            self._depthwise_mel,
            self._depthwise_time,
            self._bands,
            self._gate,
            self._pool,
        )
        for _ in range(int(self.rng.integers(*BLOCKS))):
            x = blocks[int(self.rng.integers(len(blocks)))](x)
        return self._finish(x)

    def _choose(self, *values: int) -> int:
        return int(self.rng.choice(values))

    def _name(self, kind: str) -> str:
        self.count += 1
        return f"{kind}_{self.count}"

    def _convolve(
        self,
        x: str,
        kernel: tuple[int, int],
        outputs: int,
        *,
        stride: tuple[int, int] = (1, 1),
        mel_padding: int = 0,
        depthwise: bool = False,
    ) -> str:
        inputs = 1 if depthwise else self.builder.shapes[x][2]
        weight = self.rng.normal(0, 0.1, (*kernel, inputs, outputs)).astype(np.float32)
        padding = ((mel_padding, mel_padding), (0, 0)) if mel_padding else NO_PADDING
        bias = np.zeros(outputs, np.float32)
        return self.builder.emit(Conv2D(self._name("conv"), x, weight, bias, stride, padding, depthwise, relu=True))

    def _pointwise(self, x: str) -> str:
        return self._convolve(x, (1, 1), int(self.rng.integers(8, 128)))

    def _residual(self, x: str) -> str:
        return self.builder.add(self._name("add"), self._convolve(x, (1, 1), self.builder.shapes[x][2]), x)

    def _cached(self, x: str, columns: int) -> str:
        name = self._name("block")
        return self.builder.extend_by_cache(name, x, f"cache_{name}", columns)

    def _full(self, x: str) -> str:
        mel, time, _ = self.builder.shapes[x]
        stride = self._choose(1, 2) if mel >= 16 and time >= 2 else 1
        outputs = self._choose(8, 12, 16, 24, 32)
        return self._convolve(self._cached(x, 3 - stride), (3, 3), outputs, stride=(stride, stride), mel_padding=1)

    def _depthwise_mel(self, x: str) -> str:
        mel, _, channels = self.builder.shapes[x]
        kernel = self._choose(3, 3, 5)
        stride = (self._choose(1, 2) if mel >= 16 else 1, 1)
        return self._convolve(x, (kernel, 1), channels, stride=stride, mel_padding=kernel // 2, depthwise=True)

    def _depthwise_time(self, x: str) -> str:
        _, time, channels = self.builder.shapes[x]
        stride = self._choose(1, 2) if time >= 2 else 1
        return self._convolve(self._cached(x, 3 - stride), (1, 3), channels, stride=(1, stride), depthwise=True)

    def _bands(self, x: str) -> str:
        mel = self.builder.shapes[x][0]
        size = mel // 4
        name = self._name("bands")
        parts = [self.builder.slice(f"{name}_{i}", x, 0, i * size, size) for i in range(4)]
        return self.builder.concat(name, parts, 0)

    def _gate(self, x: str) -> str:
        mel, _, channels = self.builder.shapes[x]
        kernel = min(mel, self._choose(4, 8, 16))
        mean = self._convolve(x, (kernel, 1), channels, stride=(mel, 1), depthwise=True)
        gate = self.builder.sigmoid(self._name("gate"), mean)
        gated = self.builder.multiply(self._name("gated"), mean, gate)
        return self.builder.add(self._name("add"), x, gated)

    def _pool(self, x: str) -> str:
        mel, time, _ = self.builder.shapes[x]
        return self.builder.max_pool(self._name("pool"), x) if mel >= 16 and time >= 2 else self._residual(x)

    def _matrix(self, rows: int, columns: int) -> Array:
        return self.rng.normal(0, 0.1, (rows, columns)).astype(np.float32)

    def _finish(self, x: str) -> Graph:
        mel, time, channels = self.builder.shapes[x]
        x = self._convolve(x, (mel, time), channels, depthwise=True)
        rows = self.builder.emit(Reshape("rows", x, (1, channels)))
        hidden = []
        for i in range(self._choose(0, 1, 2)):
            units, width = int(self.rng.integers(8, 64)), self.builder.shapes[rows][1]
            self.builder.shapes[f"hidden_{i}"] = (1, units)
            biases = np.zeros(3 * units, np.float32), np.zeros(3 * units, np.float32)
            weights = self._matrix(3 * units, width), self._matrix(3 * units, units)
            rows = self.builder.emit(GRU(f"gru_{i}", rows, f"hidden_{i}", *weights, *biases))
            hidden.append((f"hidden_{i}", rows))
        weight = self._matrix(CLASSES, self.builder.shapes[rows][1])
        logits = self.builder.emit(Linear("logits", rows, weight, np.zeros(CLASSES, np.float32)))
        states = [*self.builder.caches, *hidden]
        inputs = [Port("features", "features", "features"), *(Port(name, name, "state") for name, _ in states)]
        outputs = [Port(f"{name}_next", kept, "state", feeds=name) for name, kept in states]
        return self.builder.graph("step", FRAMES, inputs, [Port("logits", logits, "logits"), *outputs])


def make_network(seed: int) -> tuple[Graph, Plan]:
    """Return the graph of a random network's step, with a plan of ranges that nothing was recorded for."""
    graph = _Network(seed).build()
    ranges = tuple(
        SharedRange(tensors, *(fixed or (-CLIP, CLIP)), fixed=fixed is not None)
        for tensors, fixed in sharing(expand_gru(graph), (-CLIP, CLIP))
    )
    return graph, replace(Plan(SCHEMES["int8"]), ranges=ranges)
