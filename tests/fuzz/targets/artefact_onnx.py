"""ONNX artefacts, float and int8, steps and windows: opened, and streamed for a moment."""

from __future__ import annotations

from pathlib import Path

from fuzz.reading import stream, whole_artefact
from fuzz.target import Seeds, Target

FILES = ("step.onnx", "step-int8.onnx", "window_1s.onnx")


def seeds(folder: Path) -> Seeds:
    return {name: whole_artefact(name) for name in FILES}


TARGET = Target(seeds, stream)
