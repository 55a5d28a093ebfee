"""TensorFlow Lite for Microcontrollers, compiled for this machine: the interpreter and the kernels of firmware."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edge_asc.contract import AnyArray
from edge_asc.engine import open_runtime
from edge_asc.errors import require
from edge_asc.runtime import Runtime, Tensors
from edge_asc_conformance import python
from edge_asc_conformance.host import Host, Inference, Task, python_version

ARENA = 1 << 20  # bytes


class MicroRuntime(Runtime):
    """A step in the micro interpreter, whose memory of inputs does not outlast a run."""

    def __init__(self, path: Path) -> None:
        runtime = require("tflite_micro.python.tflite_micro.runtime", "conformance")
        self.engine, self.contract = "tflite-micro", open_runtime(path).contract
        self._step = self.contract.signature("step")
        self._interpreter = runtime.Interpreter.from_file(str(path), arena_size=ARENA)

    def run(self, signature: str, inputs: Mapping[str, AnyArray]) -> Tensors:
        """Compute the step: outputs by name, for inputs by name."""
        for i, spec in enumerate(self._step.inputs):
            self._interpreter.set_input(np.ascontiguousarray(inputs[spec.name]), i)
        self._interpreter.invoke()
        return {spec.name: self._interpreter.get_output(i).copy() for i, spec in enumerate(self._step.outputs)}


class MicroHost(Host):
    """The interpreter of microcontrollers; its reference kernels have no vector instructions."""

    title, suffix = "tflite-micro in Python", ".tflite"

    def version(self, modules: Path) -> str:
        """Return the version of tflite-micro."""
        return python_version("tflite-micro", "conformance")

    def infer(self, task: Task) -> Inference:
        """Stream the samples with edge-asc's rules."""
        return python.infer(MicroRuntime(task.golden / task.artefact), task)


HOST = MicroHost
