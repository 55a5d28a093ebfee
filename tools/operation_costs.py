"""Measure the constants of the cost model: counted aarch64 instructions of LiteRT's steps, explained by operations.

    python tools/operation_costs.py --output export/edge_asc_export/costs.json

Artefacts of the pretrained models, and of recurrent ones with random weights, are written in float, int8, int8-dynamic
and with stretches of tensors that stay float. Both boards of `edge-asc arm cost` count them; benchmarks/arm/README.md
lists what that needs. The constants are fitted to relative errors, and are never negative. The error of the prediction
is printed for the artefacts that were fitted, for those that were held out, and for each model by constants fitted to
the others. `--counts FILE` keeps the counts: an interrupted run goes on, and `--fit` fits again without counting.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from itertools import groupby
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from scipy.optimize import nnls

from edge_asc.contract import StreamContract
from edge_asc.files import write_json
from edge_asc.frontend import Array, FrontEnd
from edge_asc.jsonobject import JsonObject, parse_json
from edge_asc.models import CRNN, ModelConfig, build
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import find_checkpoint, zoo
from edge_asc_arm.board import BOARDS, list_requirements
from edge_asc_arm.board import build as build_board
from edge_asc_arm.cost import measure_cost
from edge_asc_arm.emulator import GuestMachine
from edge_asc_export.calibration import Source, calibrate
from edge_asc_export.cost import PROCESSORS, measure
from edge_asc_export.format import FORMATS
from edge_asc_export.graph import Graph
from edge_asc_export.lowering import lower_step
from edge_asc_export.pipeline import Lowered, run_passes
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import OUTPUT, SCHEMES, Scheme
from random_networks import make_network

# Recurrent models of other widths, with random weights: the pretrained ones have no GRU.
RANDOM = {
    "fuse-gru": ModelConfig("fuse", width=0.75, gru_units=32),
    "bcresnet-gru": ModelConfig("bcresnet", width=0.75, gru_units=32),
}
NETWORK, NETWORKS = "network-", 12
# Of the mixed scheme of the first random network; of the other models it is their place.
NETWORK_SEED = 7
MODELS = (*zoo(), *RANDOM, *(f"{NETWORK}{i}" for i in range(NETWORKS)))
# Models that are counted in one run of the emulators.
BATCHES = (*((name,) for name in MODELS[:-NETWORKS]), MODELS[-NETWORKS : -NETWORKS // 2], MODELS[-NETWORKS // 2 :])
# Mixed schemes of each model.
MIXED = 6
# Artefacts that constants are not fitted to.
HELD_OUT = ("*-mixed-2", "*-mixed-5", "network-5-*", "network-10-*")
# Weight of the errors of random networks: they separate operations that pretrained models have in equal shares.
NETWORK_WEIGHT = 0.3
PLAIN = (SCHEMES["none"], SCHEMES["int8-dynamic"], SCHEMES["int8"], Scheme("int8-all", "int8", "int8"))


TFLITE = FORMATS.load("tflite")
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Sample:
    """An artefact and its counts.

    Attributes:
        model: its name.
        scheme: of the artefact.
        counts: instructions of LiteRT's own call for one step, by processor.
    """

    model: str
    scheme: Scheme
    counts: Mapping[str, int]

    @property
    def name(self) -> str:
        """The name of the artefact."""
        return f"{self.model}-{self.scheme.name}"


def load_network(name: str) -> tuple[Graph, Plan]:
    """Return the graph of a model's step, and its recorded plan."""
    if name.startswith(NETWORK):
        return make_network(int(name.removeprefix(NETWORK)))
    if name in zoo():
        checkpoint = Checkpoint.load(find_checkpoint(name))
        model, plan = checkpoint.model, Plan.from_json(checkpoint.quantisation)
    else:
        torch.manual_seed(0)
        model = build(RANDOM[name]).eval()
        assert isinstance(model, CRNN)
        plan = calibrate(model, FrontEnd(), make_features(), method="minmax", source=Source("noise"))
    assert isinstance(model, CRNN)
    return lower_step(model), plan


def make_features() -> list[Array]:
    """Return log-mel of noise: counts do not depend on the ranges."""
    rng = np.random.default_rng(0)
    return [rng.normal(-7, 2.5, (24, 256)).astype(np.float32) for _ in range(3)]


def make_schemes(name: str, plan: Plan) -> Iterator[Scheme]:
    """Yield the plain schemes, and mixed ones, of which one or two stretches of tensors stay float."""
    is_network = name.startswith(NETWORK)
    yield from PLAIN[:3] if is_network else PLAIN
    rng = np.random.default_rng(NETWORK_SEED + int(name.removeprefix(NETWORK)) if is_network else MODELS.index(name))
    firsts = [shared.tensors[0] for shared in plan.ranges]
    for i in range(1 if is_network else MIXED):
        names: set[str] = set(OUTPUT)
        for _ in range(1 + i % 2):
            size = int(rng.integers(1, max(2, len(firsts) // 2)))
            begin = int(rng.integers(0, len(firsts) - size + 1))
            names.update(firsts[begin : begin + size])
        ordered = tuple(name for name in firsts if name in names)
        yield Scheme(f"mixed-{i}", "int8", "int8", ordered)


def write_artefact(path: Path, graph: Graph, plan: Plan) -> None:
    """Write a graph as a TFLite artefact."""
    written = TFLITE.write([run_passes(Lowered.of(graph, plan), TFLITE.passes)])
    front_end = FrontEnd()
    contract = StreamContract(
        name=path.stem,
        backbone="network",
        form="causal",
        output="multi",
        labels=tuple(f"label {i}" for i in range(graph.shapes["logits"][-1])),
        front_end=front_end,
        decision="mean",
        parameters=1,
        macs={},
        scheme=plan.scheme.name,
        signatures=written.signatures(front_end.hop),
    )
    path.write_bytes(written.finish(contract))


def count_networks(names: Sequence[str]) -> list[Sample]:
    """Write the artefacts of models and count each on both boards."""
    machines = [GuestMachine(board, build_board(board)) for board in BOARDS.values()]
    schemes: list[tuple[str, Scheme]] = []
    artefacts = []
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            graph, plan = load_network(name)
            for scheme in make_schemes(name, plan):
                path = Path(folder) / f"{name}-{scheme.name}.tflite"
                write_artefact(path, graph, plan.with_scheme(scheme))
                schemes.append((name, scheme))
                artefacts.append((path.name, path))
        result = measure_cost(artefacts, machines)
    samples = []
    for (name, scheme), variant in zip(schemes, result.variants, strict=True):
        counts = {processor: each.runtime for processor, each in (variant.instructions or {}).items()}
        samples.append(Sample(name, scheme, counts))
        print(f"{samples[-1].name}: {counts}", flush=True)
    return samples


def read_counts(path: Path) -> list[Sample]:
    """Read the counts that an earlier run has kept; none if there is no file."""
    if not path.exists():
        return []
    document = JsonObject(parse_json(path.read_bytes()), str(path))
    return [
        Sample(each.text("model"), Scheme.from_json(each.raw("scheme")), each.child("counts").integer_items())
        for each in document.children("samples")
    ]


def keep_counts(path: Path, samples: Sequence[Sample]) -> None:
    """Write counts to a file that `read_counts` reads."""
    rows = [{"model": each.model, "scheme": each.scheme.to_json(), "counts": dict(each.counts)} for each in samples]
    write_json(path, {"samples": rows})


@dataclass(frozen=True)
class Table:
    """Artefacts as rows and quantities as columns, on one processor.

    Attributes:
        names: of the quantities.
        samples: of the rows.
        quantities: (rows, columns).
        counts: instructions, (rows,).
    """

    names: tuple[str, ...]
    samples: tuple[Sample, ...]
    quantities: Floats
    counts: Floats

    @classmethod
    def of(cls, samples: Sequence[Sample], processor: str) -> Table:
        """Measure the quantities of artefacts."""
        rows = []
        for name, group in groupby(samples, key=lambda sample: sample.model):
            graph, plan = load_network(name)
            for sample in group:
                lowered = run_passes(Lowered.of(graph, plan.with_scheme(sample.scheme)), TFLITE.passes)
                rows.append(measure(lowered, processor))
        names = tuple(sorted({name for row in rows for name, quantity in row.items() if quantity}))
        quantities = np.array([[row[name] for name in names] for row in rows])
        counts = np.array([sample.counts[processor] for sample in samples], float)
        return cls(names, tuple(samples), quantities, counts)

    def fit(self, rows: npt.NDArray[np.bool_]) -> Floats:
        """Return the constants, none negative, with the least sum of squared relative errors over some rows."""
        random = np.array([sample.model.startswith(NETWORK) for sample in self.samples])
        weights = np.where(random, NETWORK_WEIGHT, 1.0)[rows]
        weighted = weights[:, None] * self.quantities[rows] / self.counts[rows, None]
        scales = np.maximum(weighted.max(axis=0), 1e-30)
        constants, _ = nnls(weighted / scales, weights, maxiter=10000)
        return np.asarray(constants / scales)

    def errors(self, constants: Floats) -> Floats:
        """Return the relative error of the prediction of each row."""
        return np.asarray(self.quantities @ constants / self.counts - 1)


def report(table: Table, processor: str) -> dict[str, float]:
    """Print the constants and the errors of a processor; return the constants that are not zero."""
    held = np.array([any(fnmatchcase(sample.name, each) for each in HELD_OUT) for sample in table.samples])
    models = np.array([sample.model for sample in table.samples])
    constants = table.fit(~held)
    errors = table.errors(constants)
    print(f"\n{processor}: instructions of each quantity")
    for name, value in zip(table.names, constants, strict=True):
        print(f"  {name:28}{value:12.4g}")
    print(f"{processor}: errors of the prediction, largest and root mean square")
    print(f"  {'fitted':28}{summarise(errors[~held])}")
    print(f"  {'held out':28}{summarise(errors[held])}")
    for model in (name for name in dict.fromkeys(models) if not name.startswith(NETWORK)):
        others = table.fit(models != model)
        print(f"  {'fitted without ' + model:28}{summarise(table.errors(others)[models == model])}")
    return {name: float(f"{value:.4g}") for name, value in zip(table.names, constants, strict=True) if value > 0}


def summarise(errors: Floats) -> str:
    """Return the largest error and the root mean square, as text."""
    return f"{np.abs(errors).max():8.2%}{np.sqrt(np.mean(errors**2)):8.2%} of {len(errors)} artefacts"


def main() -> None:
    """Count, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=Path, metavar="FILE", default=Path("build/operation-counts.json"))
    parser.add_argument("--output", type=Path, metavar="FILE", help="the constants, as JSON")
    parser.add_argument("--fit", action="store_true", help="count nothing more")
    arguments = parser.parse_args()
    samples = read_counts(arguments.counts)
    counted = {sample.model for sample in samples}
    for names in () if arguments.fit else BATCHES:
        if missing := [name for name in names if name not in counted]:
            samples += count_networks(missing)
            keep_counts(arguments.counts, samples)
    constants = {processor: report(Table.of(samples, processor), processor) for processor in PROCESSORS}
    if arguments.output:
        write_json(
            arguments.output,
            {
                "made": "python tools/operation_costs.py --output export/edge_asc_export/costs.json",
                "packages": dict(line.split("==") for line in list_requirements() if "==" in line),
                "instructions": constants,
            },
        )


if __name__ == "__main__":
    main()
