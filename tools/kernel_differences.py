"""Where TensorFlow Lite Micro and LiteRT part: every operation of an integer artefact's step, on the same inputs.

    python tools/kernel_differences.py edge_asc/zoo/fuse/int8/fuse-int8.tflite build/golden/samples.wav

The artefact takes features. LiteRT streams the recording and gives the value of every tensor; each operation then
becomes a model of its own, which both interpreters run on these values. It needs edge-asc[export,tflm].
"""

from __future__ import annotations

import copy
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from edge_asc import audio
from edge_asc.contract import Signature
from edge_asc.engines.tflm import MODULE
from edge_asc.errors import require
from edge_asc.frontend import Array, LogMel
from edge_asc.runtime import read_tflite_contract
from edge_asc_export.tflite_packing import load_schema

Values = dict[int, npt.NDArray[Any]]
"""Values of tensors, by their index."""

# Of the memory of one operation, bytes; and of recordings, the steps that are compared.
ARENA = 1 << 23
EVERY = 3


@dataclass
class Difference:
    """The differences of one kind of operation: operations, values that differ, all values, and the largest error."""

    operations: int = 0
    values: int = 0
    total: int = 0
    largest: int = 0

    def __str__(self) -> str:
        share = f"{self.values / max(1, self.total):.2%}"
        return f"{self.operations} operations, {self.values} of {self.total} values differ ({share}), by {self.largest}"


class Parts:
    """Models of parts of a TFLite file's first subgraph."""

    def __init__(self, data: bytes) -> None:
        self.schema = load_schema()
        self.model = self.schema.ModelT.InitFromPackedBuf(data, 0)
        self.model.metadata, self.model.signatureDefs = [], []
        self.subgraph = self.model.subgraphs[0]
        self.names = {code: name for name, code in vars(self.schema.BuiltinOperator).items() if name.isupper()}

    def name(self, operator: Any) -> str:
        """Return the kind of an operation."""
        return str(self.names[self.model.operatorCodes[operator.opcodeIndex].builtinCode])

    def pack(self, inputs: Sequence[int], outputs: Sequence[int], operators: Sequence[Any]) -> bytes:
        """Return the file of some operations, with these tensors as inputs and outputs."""
        model, subgraph = copy.copy(self.model), copy.copy(self.subgraph)
        model.subgraphs = [subgraph]
        subgraph.inputs, subgraph.outputs, subgraph.operators = list(inputs), list(outputs), list(operators)
        builder = require("flatbuffers", "export").Builder(1 << 20)
        builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
        return bytes(builder.Output())


class Here:
    """A model in LiteRT."""

    def __init__(self, data: bytes) -> None:
        interpreter = require("ai_edge_litert.interpreter", "tflite").Interpreter
        self._model = interpreter(model_content=data, num_threads=1)
        self._model.allocate_tensors()

    def run(self, inputs: Sequence[npt.NDArray[Any]]) -> list[npt.NDArray[Any]]:
        """Return the outputs, in their order."""
        for detail, value in zip(self._model.get_input_details(), inputs, strict=True):
            self._model.set_tensor(detail["index"], value)
        self._model.invoke()
        return [self._model.get_tensor(detail["index"]).copy() for detail in self._model.get_output_details()]


def stream(parts: Parts, signature: Signature, steps: Sequence[Array]) -> Iterator[Values]:
    """Yield the values of all tensors at each step, in LiteRT, for the features of each."""
    made = [int(tensor) for operator in parts.subgraph.operators for tensor in operator.outputs]
    model = Here(parts.pack(parts.subgraph.inputs, made, parts.subgraph.operators))
    states = {spec.name: spec.initial() for spec in signature.states()}
    for features in steps:
        inputs = [
            states[spec.name] if spec.role == "state" else features.reshape(spec.shape) for spec in signature.inputs
        ]
        values = dict(zip(made, model.run(inputs), strict=True))
        for spec, tensor in zip(signature.outputs, parts.subgraph.outputs, strict=True):
            if spec.feeds:
                states[spec.feeds] = values[int(tensor)]
        yield {**values, **dict(zip(map(int, parts.subgraph.inputs), inputs, strict=True))}


def compare(path: Path, samples: Array) -> Mapping[str, Difference]:
    """Return the differences of each kind of operation, for samples (n,) at the rate of the artefact."""
    micro = require(MODULE, "tflm").Interpreter
    data = path.read_bytes()
    contract, parts = read_tflite_contract(path, data), Parts(data)
    signature = contract.signature("step")
    log_mel = LogMel(contract.front_end)
    count = len(samples) // signature.samples
    steps = [log_mel.push(samples[signature.samples * k : signature.samples * (k + 1)]) for k in range(count)]
    seen = list(stream(parts, signature, steps))[EVERY::EVERY]
    found: defaultdict[str, Difference] = defaultdict(Difference)
    for operator in parts.subgraph.operators:
        inputs, (output,) = [int(i) for i in operator.inputs if int(i) in seen[0]], operator.outputs
        if seen[0][int(output)].dtype == np.float32:
            continue
        part = parts.pack(inputs, [int(output)], [operator])
        here, there = Here(part), micro.from_bytes(part, arena_size=ARENA)
        difference = found[parts.name(operator)]
        difference.operations += 1
        for values in seen:
            (expected,) = here.run([values[tensor] for tensor in inputs])
            for place, tensor in enumerate(inputs):
                there.set_input(np.ascontiguousarray(values[tensor]), place)
            there.invoke()
            errors = np.abs(there.get_output(0).astype(int) - expected)
            difference.values += int((errors > 0).sum())
            difference.total += errors.size
            difference.largest = max(difference.largest, int(errors.max()))
    return found


if __name__ == "__main__":
    for kind, difference in compare(Path(sys.argv[1]), audio.read(sys.argv[2])).items():
        print(f"{kind}: {difference}")
