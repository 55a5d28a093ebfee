"""Conformance: artefacts compute on aarch64 what they compute here."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from edge_asc.contract import StreamContract
from edge_asc.engine import open_runtime
from edge_asc.errors import EdgeAscError
from edge_asc_arm.emulator import Machine, prepared, run

# Largest logit error between processors, by runtime and scheme. Integer arithmetic in LiteRT is exact on both; float
# sums differ by the order of vector lanes, and dynamic int8 rounds what such sums gave.
TOLERANCES = {
    ("litert", "int8"): 0.0,
    ("litert", "int8-dynamic"): 0.1,
    ("onnxruntime", "int8"): 0.1,
    ("onnxruntime", "int8-dynamic"): 0.1,
}
FLOAT = 1e-4
FRONT_END = 1e-3
AGREEMENT = 0.9


@dataclass(frozen=True)
class Comparison:
    """One artefact on one processor, beside this machine.

    Attributes:
        artefact: name.
        engine: the runtime and its version.
        scheme: of quantisation.
        processor: emulated.
        steps: compared.
        equal: all logits are, bit for bit.
        max_error: of a logit.
        agreement: share of steps whose likeliest label is the same.
        tolerance: largest error that is allowed.
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
        """Within the tolerance, and with hardly another decision."""
        return self.max_error <= self.tolerance and self.agreement >= AGREEMENT


def tolerance(engine: str, contract: StreamContract) -> float:
    """The largest logit error allowed between processors."""
    return TOLERANCES.get((engine.split()[0], contract.scheme), FLOAT)


def conform(
    artefacts: Sequence[tuple[str, Path]],
    machines: Sequence[Machine],
    progress: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Stream artefacts here and on boards; every comparison, and whether all hold.

    Raises:
        EdgeAscError: an artefact cannot be opened, a program failed on a board, or other versions of the runtimes are
            installed here.
    """
    names, paths = [name for name, _ in artefacts], [path for _, path in artefacts]
    contracts = [open_runtime(path).contract for path in paths]
    with prepared(paths, contracts[0].front_end) as (inputs, _), tempfile.TemporaryDirectory() as temporary:

        def heard(machine: Machine) -> tuple[dict[str, Any], list[Any], Any]:
            folder = Path(temporary) / machine.name
            report = run(machine, inputs, folder, "hear", paths)
            progress(machine.name)
            logits = [np.load(folder / f"logits-{i}.npy") for i in range(len(paths))]
            return report, logits, np.load(folder / "heard.npy")

        with ThreadPoolExecutor(2) as pool:
            (report, expected, features), *boards = pool.map(heard, [Machine(), *machines])
    comparisons, front_ends = [], {}
    for machine, (told, logits, found_features) in zip(machines, boards, strict=True):
        if told["engines"] != report["engines"]:
            here, there = (", ".join(sorted(set(value["engines"]))) for value in (report, told))
            raise EdgeAscError(
                f"{machine.name} runs {there}, this machine {here}; install the board's versions here: they stand in "
                f"{files('edge_asc_arm') / 'pins.txt'}"
            )
        front_ends[machine.name] = float(np.abs(found_features - features).max())
        for i, name in enumerate(names):
            error = np.abs(logits[i] - expected[i])
            same = logits[i].argmax(1) == expected[i].argmax(1)
            comparisons.append(
                Comparison(
                    name,
                    told["engines"][i],
                    contracts[i].scheme,
                    machine.name,
                    len(error),
                    bool((error == 0).all()),
                    float(error.max()),
                    float(same.mean()),
                    tolerance(told["engines"][i], contracts[i]),
                )
            )
    good = all(c.holds for c in comparisons) and all(error <= FRONT_END for error in front_ends.values())
    return {
        "kind": "conformance",
        "schema_version": 1,
        "here": {"machine": report["machine"], "engines": sorted(set(report["engines"]))},
        "front_end": {"tolerance": FRONT_END, "max_error": front_ends},
        "holds": good,
        "comparisons": [{**asdict(comparison), "holds": comparison.holds} for comparison in comparisons],
    }
