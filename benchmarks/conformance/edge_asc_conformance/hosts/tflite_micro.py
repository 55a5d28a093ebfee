"""TensorFlow Lite for Microcontrollers on this machine: the interpreter of firmware, with its reference kernels."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from edge_asc.engine import open_runtime
from edge_asc_conformance import python
from edge_asc_conformance.host import Host, Inference, Task, python_version


class MicroHost(Host):
    """The interpreter of microcontrollers, edge-asc's engine `tflm`."""

    title, suffix = "tflite-micro in Python", ".tflite"
    unsupported: ClassVar[dict[str, str]] = {"int8-dynamic": "it has no kernels for int8 weights with float values"}

    def version(self, modules: Path) -> str:
        """Return the version of tflite-micro."""
        return python_version("tflite-micro", "tflm")

    def infer(self, task: Task) -> Inference:
        """Stream the samples with edge-asc's rules."""
        return python.infer(open_runtime(f"tflm:{task.golden / task.artefact}"), task)


HOST = MicroHost
