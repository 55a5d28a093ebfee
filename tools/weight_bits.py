"""Measure what weights of fewer than 8 bits cost a pretrained model, independently of any kernel.

python tools/weight_bits.py DATA MODEL... [--every 1] [--bits 8 6 5 4] [--groups 0 32]

The weights of pointwise and full convolutions and of the output layer are rounded, symmetrically, with one scale for
each output channel or for each group of its inputs. Activations and all other weights stay float. The models follow
every clip of DATA from a reset; a row compares the decisions after every step with those of the float model.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import default_cache
from edge_asc.evaluation.logits import decide
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.models import CRNN
from edge_asc.rule import ClipRule
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import zoo_path
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import Conv2D, Graph, Linear, Node
from edge_asc_export.lowering import lower_step
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation

# Ratios of a scale to that which reaches the largest weight, of which the one with the least square error is chosen.
RATIOS = np.linspace(0.5, 1.1, 61)
SCALE_BYTES = 2
# Weights of a large layer, and clips that are computed at a time.
LARGE, BATCH = 5000, 32


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded.

    Attributes:
        bits: of a weight, from 2.
        group: number of inputs of an output channel that share a scale; 0 for all of them.
        fitted: whether scales have the least square error; otherwise they reach the largest weight.
        least: layers of fewer weights have 8 bits and a scale for each channel.
    """

    bits: int
    group: int = 0
    fitted: bool = False
    least: int = 0

    def __str__(self) -> str:
        scales = f"per {self.group} inputs" if self.group else "per channel"
        return f"{self.bits} bits {scales}{', fitted' * self.fitted}{f', from {self.least} weights' * (self.least > 0)}"


def is_rounded(node: Node) -> bool:
    """Whether the tool rounds the weights of a node."""
    return isinstance(node, Linear) or (isinstance(node, Conv2D) and not node.depthwise)


def round_rows(rows: Array, rounding: Rounding) -> Array:
    """Round weights, (channels, inputs), to integers times scales."""
    channels, inputs = rows.shape
    group = min(rounding.group or inputs, inputs)
    padded = np.pad(rows.astype(np.float64), ((0, 0), (0, -inputs % group))).reshape(channels, -1, group)
    high = 2 ** (rounding.bits - 1) - 1
    full = np.maximum(np.abs(padded).max(axis=2, keepdims=True), 1e-12) / high
    best, least = np.zeros_like(padded), np.full(full.shape, np.inf)
    for ratio in RATIOS if rounding.fitted else (1.0,):
        rounded = np.clip(np.rint(padded / (full * ratio)), -high, high) * full * ratio
        error = ((rounded - padded) ** 2).sum(axis=2, keepdims=True)
        best, least = np.where(error < least, rounded, best), np.minimum(error, least)
    result: Array = best.reshape(channels, -1)[:, :inputs].astype(np.float32)
    return result


def round_node(node: Node, rounding: Rounding) -> Node:
    """Return a node with rounded weights."""
    if not isinstance(node, Conv2D | Linear) or not is_rounded(node):
        return node
    if node.weight.size < rounding.least:
        rounding = Rounding(8)
    # The inputs of a convolution are ordered by position, then channel: a group is of one position where it can be.
    flat = node.weight if isinstance(node, Linear) else node.weight.reshape(-1, node.weight.shape[3]).T
    rounded = round_rows(flat, rounding)
    return replace(node, weight=rounded if isinstance(node, Linear) else rounded.T.reshape(node.weight.shape))


def saved_bytes(graph: Graph, rounding: Rounding) -> int:
    """Return how many bytes less the weights take than int8 with one scale for each channel."""
    saved = 0.0
    for node in graph.nodes:
        if isinstance(node, Conv2D | Linear) and is_rounded(node) and node.weight.size >= rounding.least:
            channels = len(node.bias)
            inputs = node.weight.size // channels
            groups = -(-inputs // rounding.group) if rounding.group else 1
            saved += node.weight.size * (1.0 - rounding.bits / 8.0) - channels * (groups - 1) * SCALE_BYTES
    return round(saved)


def load_graph(checkpoint: Checkpoint, scheme: str) -> Graph:
    """Return the step of a model as the TFLite writer takes it under a scheme, in float."""
    assert isinstance(checkpoint.model, CRNN)
    plan = Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES[scheme])
    return run_passes(Lowered.of(lower_step(checkpoint.model), plan), FORMATS.load("tflite").passes).graph


def stream(graph: Graph, features: torch.Tensor) -> Array:
    """Return the logits of every step of every clip, (clip, step, class)."""
    simulation = Simulation(graph)
    with torch.inference_mode():
        logits: Array = torch.cat([simulation.stream(batch) for batch in features.split(BATCH)]).numpy()
    return logits


def share_right(logits: Array, targets: Sequence[int], rule: ClipRule) -> float:
    """Return the share of right decisions after all steps."""
    right = [decide(clip, rule) == target for clip, target in zip(logits, targets, strict=True)]
    return float(np.mean(right))


def choose_roundings(bits: Sequence[int], groups: Sequence[int]) -> Iterator[Rounding]:
    """Yield roundings from most to fewest bits; the last one leaves small layers at 8 bits."""
    for count in sorted(bits, reverse=True):
        for group in groups:
            yield from (Rounding(count, group, fitted) for fitted in (False, True))
    yield Rounding(min(bits), groups[-1], fitted=True, least=LARGE)


def main() -> None:
    """Print a row for each model and rounding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--every", type=int, default=1, help="evaluate one clip of so many")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4], help="of a weight")
    parser.add_argument("--groups", type=int, nargs="+", default=[0, 32], help="inputs of a scale; 0: all")
    parser.add_argument("--equalised", action="store_true", help="round the weights that the int8 plan has equalised")
    options = parser.parse_args()
    dataset = Dataset.open(options.data)
    clips = dataset.clips[:: options.every]
    features = list(FeatureCache(default_cache(), FrontEnd()).features(dataset, clips))
    frames = min(map(len, features))
    print("| model | weights | agreement | KL, nats | accuracy, points | KB |\n|---|---|---|---|---|---|")
    for name in options.models:
        checkpoint = Checkpoint.load(zoo_path(name))
        graph = load_graph(checkpoint, "int8" if options.equalised else "int8-dynamic")
        whole = np.stack([LogMel(checkpoint.front_end).normalise(np.array(clip[:frames])) for clip in features])
        inputs = torch.from_numpy(whole).transpose(1, 2)[:, None].contiguous()
        targets, rule = [checkpoint.labels.index(clip.label) for clip in clips], checkpoint.decision
        exact = stream(graph, inputs)
        right = share_right(exact, targets, rule)
        size = (zoo_path(name) / "int8" / f"{name}-int8.tflite").stat().st_size
        print(f"| {name} | float | | | {100 * right:.2f} % | {size / 1000:.0f} in int8 |", flush=True)
        for rounding in choose_roundings(options.bits, options.groups):
            rounded = stream(replace(graph, nodes=tuple(round_node(node, rounding) for node in graph.nodes)), inputs)
            closeness = measure_closeness(list(exact), list(rounded), rule)
            agreement = closeness.agreed / exact[..., 0].size
            lost = 100 * (share_right(rounded, targets, rule) - right)
            kilobytes = (size - saved_bytes(graph, rounding)) / 1000
            print(
                f"| {name} | {rounding} | {agreement:.4f} | {closeness.kl:.4f} | {lost:+.2f} | {kilobytes:.0f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
