"""Measure what weights of fewer than 8 bits cost a pretrained model.

    python tools/weight_bits.py DATA MODEL... [--quantize int8] [--bits 8 6 5 4] [--calibration 40]

The weights of pointwise convolutions are rounded symmetrically, with one scale for each output channel: plainly, and
fitted to the inputs that these layers have in some clips. All else is as --quantize says. LiteRT computes with the
rounded weights in 8 bits: no kernel for narrow weights is measured. Each row compares the decisions after every step of
the other clips with those of the float model.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeGuard

import numpy as np
import numpy.typing as npt
import torch

from edge_asc.data import Dataset, FeatureCache
from edge_asc.data.cache import default_cache
from edge_asc.engine import open_runtime
from edge_asc.evaluation.logits import decide, stream_logits
from edge_asc.evaluation.margins import measure_closeness
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.scratch import scratch_folder
from edge_asc_export.artefact import Draft
from edge_asc_export.bundle import ExportRequest
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import Conv2D, Node
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.scheme import SCHEMES
from edge_asc_export.simulation import Simulation

# Added to the second moments of inputs, relative to their mean; and clips whose moments are taken at a time.
DAMPING, BATCH = 0.01, 20
Moments = Mapping[str, npt.NDArray[np.float64]]


@dataclass(frozen=True)
class Rounding:
    """How weights are rounded.

    Attributes:
        bits: of a weight, from 2.
        moments: of the inputs of pointwise layers and a constant one, by tensor: the error of each rounded weight is
            compensated by the channel's later weights and its bias (GPTQ, arXiv:2210.17323); None for plain rounding.
    """

    bits: int
    moments: Moments | None = None

    def round(self, node: Node) -> Node:
        """Return a node with rounded weights."""
        if not is_pointwise(node):
            return node
        rows, high = node.weight[0, 0].T, 2 ** (self.bits - 1) - 1
        scales = np.maximum(np.abs(rows.astype(np.float64)).max(axis=1), 1e-12) / high
        values = np.column_stack([rows, node.bias]).astype(np.float64)
        moments = np.eye(values.shape[1]) if self.moments is None else self.moments[node.input]
        order = np.append(np.argsort(-np.diag(moments)[:-1], kind="stable"), rows.shape[1])
        factor = np.linalg.cholesky(np.linalg.inv(moments[np.ix_(order, order)])).T
        for i, column in enumerate(order[:-1]):
            rounded = np.clip(np.rint(values[:, column] / scales), -high, high) * scales
            values[:, order[i:]] -= np.outer(values[:, column] - rounded, factor[i, i:] / factor[i, i])
        result = values.T.astype(np.float32)
        return replace(node, weight=result[None, None, :-1], bias=result[-1])

    def count_saved(self, node: Node) -> int:
        """Return how many bytes less a node's weights take than in 8 bits."""
        return node.weight.size * (8 - self.bits) // 8 if is_pointwise(node) else 0


def is_pointwise(node: Node) -> TypeGuard[Conv2D]:
    """Whether a node is a convolution that a fully connected layer can compute."""
    return isinstance(node, Conv2D) and node.weight.shape[:2] == node.stride == (1, 1) and not node.depthwise


def measure_moments(draft: Draft, clips: Sequence[Array]) -> Moments:
    """Return the damped second moments of the inputs of pointwise convolutions, and of a constant one."""
    graph = run_passes(Lowered.of(draft.graphs[0], draft.plan), FORMATS.load("tflite").passes).graph
    sums = dict[str, npt.NDArray[np.float64]]()
    names = {node.inputs[0] for node in graph.nodes if is_pointwise(node)}

    def observe(name: str, value: torch.Tensor) -> None:
        if name in names:
            rows = value.permute(0, 2, 3, 1).reshape(-1, value.shape[1]).double().numpy()
            rows = np.column_stack([rows, np.ones(len(rows))])
            sums[name] = sums.get(name, 0.0) + rows.T @ rows

    simulation, log_mel, frames = Simulation(graph), LogMel(draft.checkpoint.front_end), min(map(len, clips))
    features = torch.from_numpy(np.stack([log_mel.normalise(np.array(clip[:frames])).T[None] for clip in clips]))
    with torch.inference_mode():
        for begin in range(0, len(features), BATCH):
            simulation.stream(features[begin : begin + BATCH], observe)
    means = {name: total / total[-1, -1] for name, total in sums.items()}
    return {name: mean + DAMPING * np.diag(mean)[:-1].mean() * np.eye(len(mean)) for name, mean in means.items()}


def infer(draft: Draft, features: Sequence[Array], rounding: Rounding | None = None) -> tuple[list[Array], float]:
    """Return the logits of every clip, (steps, classes), and the size of the file with weights of few bits, KB."""
    fmt, saved = FORMATS.load("tflite"), 0
    lowered = run_passes(Lowered.of(draft.graphs[0], draft.plan), fmt.passes)
    if rounding:
        saved = sum(map(rounding.count_saved, lowered.graph.nodes))
        lowered = lowered.with_graph(replace(lowered.graph, nodes=tuple(map(rounding.round, lowered.graph.nodes))))
    written = fmt.write([lowered])
    contract = draft.contract(fmt, written.signatures(draft.checkpoint.front_end.hop), draft.graphs)
    with scratch_folder() as folder:
        size = (folder / "model.tflite").write_bytes(written.finish(contract))
        return stream_logits(open_runtime(folder / "model.tflite"), features), (size - saved) / 1000


def main() -> None:
    """Print a row for each model and rounding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("models", nargs="+", metavar="MODEL")
    parser.add_argument("--quantize", choices=("int8", "int8-dynamic"), default="int8", help="scheme of all else")
    parser.add_argument("--bits", type=int, nargs="+", default=[8, 6, 5, 4], help="of a weight")
    parser.add_argument("--calibration", type=int, default=40, help="clips that weights are fitted to")
    options = parser.parse_args()
    dataset = Dataset.open(options.data)
    features = list(FeatureCache(default_cache(), FrontEnd()).features(dataset, dataset.clips))
    fitted = set(np.linspace(0, len(features) - 1, options.calibration).round().astype(int).tolist())
    rest = [i for i in range(len(features)) if i not in fitted]
    held_out = [features[i] for i in rest]
    print("| model | weights | agreement | KL, nats | accuracy, % | KB |\n|---|---|---|---|---|---|")
    for name in options.models:
        exact, _ = infer(ExportRequest.of(name, SCHEMES["none"], ["tflite"]).draft(), held_out)
        draft = ExportRequest.of(name, SCHEMES[options.quantize], ["tflite"]).draft()
        labels, rule = draft.checkpoint.labels, draft.checkpoint.decision
        moments = measure_moments(draft, [features[i] for i in sorted(fitted)])
        rows: list[tuple[str, Rounding | None]] = [(draft.scheme.label, None)]
        for bits in options.bits:
            rows += [(f"{bits} bits", Rounding(bits)), (f"{bits} bits, fitted", Rounding(bits, moments))]
        for words, rounding in rows:
            logits, size = infer(draft, held_out, rounding)
            closeness, steps = measure_closeness(exact, logits, rule), sum(map(len, exact))
            right = [decide(x, rule) == labels.index(dataset.clips[i].label) for x, i in zip(logits, rest, strict=True)]
            cells = f"{closeness.agreed / steps:.4f} | {closeness.kl:.4f} | {100 * np.concatenate(right).mean():.2f}"
            print(f"| {name} | {words} | {cells} | {size:.0f} |", flush=True)


if __name__ == "__main__":
    main()
