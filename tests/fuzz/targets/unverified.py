"""Artefacts of both formats, opened without their digest: engines see the damage.

Other answers are what `verify=False` accepts, and engines allocate what a damaged size says. A crash of an engine is
its own defect, and is counted.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from fuzz.reading import stream, whole_artefact
from fuzz.target import Seeds, Target

FILES = ("step.onnx", "step-int8.onnx", "step.tflite", "step-int8.tflite")


def seeds(folder: Path) -> Seeds:
    return {name: whole_artefact(name) for name in FILES}


TARGET = Target(seeds, partial(stream, verify=False), other_answers=True, memory=4096)
