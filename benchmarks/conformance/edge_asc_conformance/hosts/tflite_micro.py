"""TensorFlow Lite for Microcontrollers, compiled for this machine: the interpreter and the kernels of firmware."""

from __future__ import annotations

from pathlib import Path

from edge_asc.engines.tflm import MicroRuntime
from edge_asc_conformance import python
from edge_asc_conformance.host import Host, Inference, Task, python_version


class MicroHost(Host):
    """The interpreter of microcontrollers; its reference kernels have no vector instructions."""

    title, suffix = "tflite-micro in Python", ".tflite"

    def version(self, modules: Path) -> str:
        """Return the version of tflite-micro."""
        return python_version("tflite-micro", "tflm")

    def infer(self, task: Task) -> Inference:
        """Stream the samples with edge-asc's rules."""
        return python.infer(MicroRuntime(task.golden / task.artefact), task)


HOST = MicroHost
