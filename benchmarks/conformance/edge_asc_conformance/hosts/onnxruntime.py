"""ONNX Runtime in Python: edge-asc's own engine."""

from __future__ import annotations

from pathlib import Path

from edge_asc.engine import open_runtime
from edge_asc_conformance import python
from edge_asc_conformance.host import Host, Inference, Task, python_version


class OnnxRuntimeHost(Host):
    """The reference of ONNX artefacts."""

    title, suffix, reference = "onnxruntime in Python", ".onnx", True

    def version(self, modules: Path) -> str:
        """Return the version of onnxruntime."""
        return python_version("onnxruntime", "onnx")

    def infer(self, task: Task) -> Inference:
        """Stream the samples with edge-asc."""
        return python.infer(open_runtime(task.golden / task.artefact), task)


HOST = OnnxRuntimeHost
