"""Conformance: artefacts give the same logits on aarch64 as on this machine."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array
from edge_asc.progress import SILENT, Progress
from edge_asc_arm.emulator import GuestMachine, prepare_inputs, run_guest
from edge_asc_arm.guest import COMPUTED_FEATURES, LOGITS, Report

KIND = "conformance"
# 1: first version.
SCHEMA_VERSION = 1
# Largest logit error between processors, by runtime and type of activations. Float sums differ by the order of vector
# lanes, and int8-dynamic quantises results of such sums. Integer arithmetic in LiteRT is exact on both; what int8 may
# differ by is its output layer, in float, while one other integer would change a logit by hundreds of times as much.
TOLERANCES = {
    ("litert", "int8"): 1e-5,
    ("litert", "dynamic"): 0.1,
    ("onnxruntime", "int8"): 0.1,
    ("onnxruntime", "dynamic"): 0.1,
}
FLOAT = 1e-4
FRONT_END = 1e-3
AGREEMENT = 0.9


@dataclass(frozen=True)
class Comparison:
    """One artefact on one processor, compared with this machine.

    Attributes:
        artefact: name.
        engine: the runtime and its version.
        scheme: of quantisation.
        processor: the emulated one.
        steps: number of steps compared.
        equal: whether all logits are equal, bit for bit.
        max_error: largest error of a logit.
        agreement: share of steps with the same decision, [0, 1].
        tolerance: largest allowed error of a logit.
    """

    artefact: str
    engine: str
    scheme: str
    processor: str
    steps: int
    equal: bool
    max_error: float
    agreement: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """Whether the error is within the tolerance, and at least AGREEMENT of the decisions are equal."""
        return self.max_error <= self.tolerance and self.agreement >= AGREEMENT


@dataclass(frozen=True)
class Conformance:
    """Artefacts on emulated processors, compared with this machine.

    Attributes:
        machine: architecture of this machine.
        engines: of the artefacts, with their versions, sorted.
        front_end_errors: largest error of a feature, by processor.
        comparisons: of each artefact on each processor.
    """

    machine: str
    engines: tuple[str, ...]
    front_end_errors: Mapping[str, float]
    comparisons: tuple[Comparison, ...]

    @property
    def holds(self) -> bool:
        """Whether all comparisons hold, and the front end's errors are at most FRONT_END."""
        return all(c.holds for c in self.comparisons) and all(e <= FRONT_END for e in self.front_end_errors.values())

    def to_json(self) -> dict[str, object]:
        """Return the JSON object that `edge-asc report` reads."""
        return {
            "kind": KIND,
            "schema_version": SCHEMA_VERSION,
            "here": {"machine": self.machine, "engines": list(self.engines)},
            "front_end": {"tolerance": FRONT_END, "max_error": dict(self.front_end_errors)},
            "holds": self.holds,
            "comparisons": [{**asdict(comparison), "holds": comparison.holds} for comparison in self.comparisons],
        }


@dataclass(frozen=True)
class Inference:
    """The guest program's results on one machine.

    Attributes:
        report: of its environment.
        logits: of each artefact, (steps, classes).
        features: raw log-mel, (frames, mels).
    """

    report: Report
    logits: tuple[Array, ...]
    features: Array


def tolerance_of(engine: str, contract: StreamContract) -> float:
    """Return the largest allowed logit error between processors."""
    # An old contract has the name of the scheme alone.
    scheme = contract.provenance.scheme or {"activations": contract.scheme.removeprefix("int8-")}
    return TOLERANCES.get((engine.split()[0], str(scheme["activations"])), FLOAT)


def measure_conformance(
    artefacts: Sequence[tuple[str, Path]], machines: Sequence[GuestMachine], progress: Progress = SILENT
) -> Conformance:
    """Stream artefacts on this machine and on boards, and compare the logits.

    Args:
        artefacts: name and path of each; all have one front end.
        machines: emulated boards.
        progress: receives a unit of work for each machine.

    Raises:
        EdgeAscError: an artefact cannot be opened, the program fails on a board, or this machine has other versions of
            the runtimes than the boards.
    """
    paths = [path for _, path in artefacts]
    contracts = [open_runtime(path).contract for path in paths]
    with (
        prepare_inputs(paths, contracts[0].front_end) as (inputs, _),
        tempfile.TemporaryDirectory() as temporary,
        progress.phase("Streaming", len(machines) + 1) as phase,
    ):

        def infer(machine: GuestMachine) -> Inference:
            folder = Path(temporary) / machine.name
            report = run_guest(machine, inputs, folder, "infer", paths)
            phase.advance()
            logits = tuple(np.load(folder / LOGITS.format(i)) for i in range(len(paths)))
            return Inference(report, logits, np.load(folder / COMPUTED_FEATURES))

        with ThreadPoolExecutor(2) as pool:
            here, *boards = pool.map(infer, [GuestMachine(), *machines])
    comparisons, front_end_errors = [], {}
    for machine, board in zip(machines, boards, strict=True):
        _check_versions(machine.name, board.report, here.report)
        front_end_errors[machine.name] = float(np.abs(board.features - here.features).max())
        for i, (name, _) in enumerate(artefacts):
            comparisons.append(_compare(name, machine.name, contracts[i], (here, board), i))
    engines = tuple(sorted(set(here.report.engines)))
    return Conformance(here.report.machine, engines, front_end_errors, tuple(comparisons))


def _check_versions(processor: str, board: Report, here: Report) -> None:
    if board.engines != here.engines:
        installed, expected = (", ".join(sorted(set(report.engines))) for report in (here, board))
        raise EdgeAscError(
            f"this machine runs {installed}, and {processor} runs {expected}; install the board's versions here: "
            f"pip install -r {files('edge_asc_arm') / 'pins.txt'}"
        )


def _compare(
    name: str, processor: str, contract: StreamContract, inferences: tuple[Inference, Inference], index: int
) -> Comparison:
    """Compare the logits of the artefact at `index`, expected and computed."""
    expected, computed = (inference.logits[index] for inference in inferences)
    engine = inferences[1].report.engines[index]
    error = np.abs(computed - expected)
    return Comparison(
        artefact=name,
        engine=engine,
        scheme=contract.scheme,
        processor=processor,
        steps=len(error),
        equal=bool((error == 0).all()),
        max_error=float(error.max()),
        agreement=float((computed.argmax(1) == expected.argmax(1)).mean()),
        tolerance=tolerance_of(engine, contract),
    )
