"""Runs TFLite artefacts in TensorFlow Lite Micro, the interpreter of microcontrollers, on this machine.

Its kernels are those of a microcontroller, and it counts the memory that a model takes there. It is no engine to deploy
with here: its portable kernels are many times slower than LiteRT's. It runs only what is named with its own name before
the path, as in `tflm:fuse-int8`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from threading import Lock

import numpy as np

from edge_asc.contract import AnyArray, Tensors
from edge_asc.engine import Engine, has_suffix
from edge_asc.errors import ContractError, EdgeAscError, require
from edge_asc.runtime import Runtime, check_inputs, read_tflite_contract
from edge_asc.seal import check_seal
from edge_asc.tool import run_tool

MODULE = "tflite_micro.python.tflite_micro.runtime"
# Memory for tensors while a model is opened here, bytes: far beyond any microcontroller.
ARENA = 1 << 26
TOTAL = re.compile(r"Arena allocation total (\d+) bytes")
PROGRAM = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).print_allocations()
"""
# Longest time to open a model, s.
TIMEOUT = 120.0


class MicroRuntime(Runtime):
    """The step of a TFLite artefact."""

    def __init__(self, path: str | Path, threads: int = 1) -> None:
        """Load `path`; computation takes one thread.

        Raises:
            ContractError: not a TFLite file, a damaged one, without a contract, or with several signatures.
            MissingExtraError: tflite-micro is not installed.
        """
        path = Path(path)
        runtime = require(MODULE, "tflm")
        self.engine = f"tflite-micro {version('tflite-micro')}"
        data = path.read_bytes()
        self.contract = read_tflite_contract(path, data)
        if len(self.contract.signatures) != 1:
            names = ", ".join(signature.name for signature in self.contract.signatures)
            raise ContractError(
                f"{path}: has the signatures {names}; TensorFlow Lite Micro runs a causal model's step alone"
            )
        self._interpreter = runtime.Interpreter.from_bytes(data, arena_size=ARENA)
        # The interpreter holds the tensors of a run, so that streams in several threads must alternate.
        self._lock = Lock()

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute the step: outputs by name, for inputs by name, as the contract describes both.

        Raises:
            ContractError: an input is missing, unknown, of another shape or type, or not finite.
        """
        check_inputs(self.contract, signature, inputs)
        spec = self.contract.signature(signature)
        with self._lock:
            # Tensors have no names there; their order is that of the contract.
            for i, each in enumerate(spec.inputs):
                self._interpreter.set_input(np.ascontiguousarray(inputs[each.name]), i)
            self._interpreter.invoke()
            outputs = (self._interpreter.get_output(i) for i in range(len(spec.outputs)))
            return {each.name: np.array(value) for each, value in zip(spec.outputs, outputs, strict=True)}


def measure_arena(path: Path) -> int | None:
    """Return the memory that the step of a TFLite file takes on a microcontroller beside the file, bytes.

    None where tflite-micro is not installed, or does not run the file. It is measured in a process of its own, since
    the interpreter ends its process on some files. A microcontroller of 32 bits has smaller structures: the count is
    an upper bound.
    """
    if find_spec("tflite_micro") is None:
        return None
    try:
        output = run_tool([sys.executable, "-c", PROGRAM, path, str(ARENA)], f"{path}: no arena", timeout=TIMEOUT)
    except EdgeAscError:
        return None
    found = TOTAL.search(output)
    return None if found is None else int(found[1])


ENGINE = Engine(
    name="tflm",
    title="TensorFlow Lite Micro",
    accepts=has_suffix(".tflite"),
    open=MicroRuntime,
    distribution="tflite-micro",
    module="tflite_micro",
    extra="tflm",
    preload=(MODULE,),
    verify=check_seal,
    by_name_only=True,
)
