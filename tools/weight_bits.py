"""Measure what weights of fewer than 8 bits cost a pretrained model.

    python tools/weight_bits.py DATA MODEL... [--quantize int8] [--bits 8 6 5 4] [--groups 0 32] [--every 1]

The weights of pointwise and full convolutions and of the output layer are rounded symmetrically, with one scale for
each output channel or for each group of its inputs. All else is as --quantize says. LiteRT computes with the rounded
weights, so that only accuracy and size are measured here, and no kernel for narrow weights. Each row compares the
decisions after every step of every clip with those of the float model; KB are those of the TFLite file.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import default_cache
from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import decide, stream_logits
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.files import write_bytes
from edge_asc.frontend import Array, FrontEnd
from edge_asc.scratch import scratch_folder
from edge_asc_export.artefact import Draft
from edge_asc_export.bundle import ExportRequest
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import Conv2D, Linear, Node
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.scheme import SCHEMES

# Ratios to the scale that reaches the largest weight, of which the one with the least square error is chosen.
RATIOS = np.linspace(0.5, 1.1, 61)
# Of the scale of a group, and of one weight in the file that is measured, by scheme.
SCALE_BYTES, WEIGHT_BYTES = 2, {"none": 4, "int8-dynamic": 1, "int8": 1}
# Weights of a large layer.
LARGE = 5000


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded.

    Attributes:
        bits: of a weight, from 2.
        group: inputs of an output channel that share a scale; 0 for all of them.
        fitted: whether scales have the least square error; otherwise they reach the largest weight.
        least: layers of fewer weights have 8 bits and a scale for each channel.
    """

    bits: int
    group: int = 0
    fitted: bool = False
    least: int = 0

    def __str__(self) -> str:
        """Return the words of a table."""
        scales = f"per {self.group} inputs" if self.group else "per channel"
        large = f", layers from {self.least} weights" if self.least else ""
        return f"{self.bits} bits {scales}{', fitted' * self.fitted}{large}"

    def applies(self, node: Node) -> bool:
        """Whether a node's weights have fewer than 8 bits."""
        chosen = isinstance(node, Linear) or (isinstance(node, Conv2D) and not node.depthwise)
        return chosen and node.weight.size >= self.least

    def round(self, rows: Array) -> Array:
        """Round weights, (channels, inputs), to integers times scales."""
        channels, inputs = rows.shape
        group = min(self.group or inputs, inputs)
        exact = np.pad(rows.astype(np.float64), ((0, 0), (0, -inputs % group))).reshape(channels, -1, group)
        high = 2 ** (self.bits - 1) - 1
        full = np.maximum(np.abs(exact).max(axis=2, keepdims=True), 1e-12) / high
        best, least = exact, np.full(full.shape, np.inf)
        for scale in full * (RATIOS if self.fitted else np.ones(1))[:, None, None, None]:
            rounded = np.clip(np.rint(exact / scale), -high, high) * scale
            error = ((rounded - exact) ** 2).sum(axis=2, keepdims=True)
            best, least = np.where(error < least, rounded, best), np.minimum(error, least)
        result: Array = best.reshape(channels, -1)[:, :inputs].astype(np.float32)
        return result

    def round_node(self, node: Node) -> Node:
        """Return a node with rounded weights; a group of a larger convolution crosses its positions."""
        if isinstance(node, Linear) and self.applies(node):
            return replace(node, weight=self.round(node.weight))
        if isinstance(node, Conv2D) and self.applies(node):
            rounded = self.round(node.weight.reshape(-1, node.weight.shape[3]).T)
            return replace(node, weight=np.ascontiguousarray(rounded.T).reshape(node.weight.shape))
        return node

    def count_bytes(self, node: Node) -> int:
        """Return the bytes of a node's rounded weights and of scales beyond one for each channel; 0 if unchanged."""
        if not isinstance(node, Conv2D | Linear) or not self.applies(node):
            return 0
        channels, inputs = len(node.bias), node.weight.size // len(node.bias)
        groups = -(-inputs // self.group) if self.group else 1
        return channels * (-(-inputs * self.bits // 8) + (groups - 1) * SCALE_BYTES)


def infer(draft: Draft, features: Sequence[Array], rounding: Rounding | None = None) -> tuple[list[Array], float]:
    """Return the logits of every clip, (steps, classes), and the size of the file with weights of few bits, KB."""
    fmt = FORMATS.load("tflite")
    lowered = run_passes(Lowered.of(draft.graphs[0], draft.plan), fmt.passes)
    nodes, saved = lowered.graph.nodes, 0
    if rounding:
        for node in filter(rounding.applies, nodes):
            assert isinstance(node, Conv2D | Linear)
            kept = isinstance(node, Linear) and draft.scheme.weights == "int8"  # schemes keep the output layer float
            width = 4 if kept else WEIGHT_BYTES[draft.scheme.name]
            saved += node.weight.size * width - rounding.count_bytes(node)
        nodes = tuple(map(rounding.round_node, nodes))
    written = fmt.write([lowered.with_graph(replace(lowered.graph, nodes=nodes))])
    contract = draft.contract(fmt, written.signatures(draft.checkpoint.front_end.hop), draft.graphs)
    with scratch_folder() as folder:
        data = written.finish(contract)
        write_bytes(folder / "model.tflite", data)
        logits = stream_logits(open_runtime(folder / "model.tflite"), features)
    return logits, (len(data) - saved) / 1000


def choose_roundings(bits: Sequence[int], groups: Sequence[int]) -> Iterator[Rounding]:
    """Yield roundings from most to fewest bits; the last ones leave small layers at 8 bits."""
    for count in sorted(bits, reverse=True):
        for group in groups:
            yield from (Rounding(count, group, fitted) for fitted in ((False, True) if count < 8 else (False,)))
    yield from (Rounding(min(bits), group, fitted=True, least=LARGE) for group in groups)


def main() -> None:
    """Print a row for each model and rounding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--quantize", choices=WEIGHT_BYTES, default="none", help="scheme of all else")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4], help="of a weight")
    parser.add_argument("--groups", type=int, nargs="+", default=[0, 32], help="inputs of a scale; 0: all")
    parser.add_argument("--every", type=int, default=1, help="evaluate one clip of so many")
    options = parser.parse_args()
    dataset = Dataset.open(options.data)
    clips = dataset.clips[:: options.every]
    features = list(FeatureCache(default_cache(), FrontEnd()).features(dataset, clips))
    print("| model | weights | agreement | KL, nats | accuracy, % | KB |\n|---|---|---|---|---|---|")
    for name in options.models:
        exact, _ = infer(ExportRequest.of(name, SCHEMES["none"], ["tflite"]).draft(), features)
        draft = ExportRequest.of(name, SCHEMES[options.quantize], ["tflite"]).draft()
        labels, rule = draft.checkpoint.labels, draft.checkpoint.decision
        for rounding in (None, *choose_roundings(options.bits, options.groups)):
            logits, size = infer(draft, features, rounding)
            closeness = measure_closeness(exact, logits, rule)
            agreement = closeness.agreed / sum(map(len, exact))
            right = [decide(x, rule) == labels.index(clip.label) for x, clip in zip(logits, clips, strict=True)]
            accuracy = 100.0 * np.mean(np.concatenate(right))
            words = rounding or draft.scheme.label
            print(f"| {name} | {words} | {agreement:.4f} | {closeness.kl:.4f} | {accuracy:.2f} | {size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
