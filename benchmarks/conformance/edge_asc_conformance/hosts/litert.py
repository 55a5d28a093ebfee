"""LiteRT in Python: edge-asc's own engine."""

from __future__ import annotations

from pathlib import Path

from edge_asc.engine import open_runtime
from edge_asc_conformance import python
from edge_asc_conformance.host import Host, Inference, Task, python_version


class LiteRtHost(Host):
    """The reference of TFLite artefacts."""

    title, suffix, reference = "LiteRT in Python", ".tflite", True

    def version(self, modules: Path) -> str:
        """Return the version of LiteRT."""
        return python_version("ai-edge-litert", "tflite")

    def infer(self, task: Task) -> Inference:
        """Stream the samples with edge-asc."""
        return python.infer(open_runtime(task.golden / task.artefact), task)


HOST = LiteRtHost
