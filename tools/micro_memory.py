"""Memory that TFLite artefacts need in TensorFlow Lite for Microcontrollers, as a table of Markdown.

    python tools/micro_memory.py FILE.tflite ...

The smallest arena is found by trying; it is that of the interpreter compiled for this machine.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from edge_asc.contract import Signature
from edge_asc.engine import open_runtime
from edge_asc.errors import require

SMALLEST, LARGEST, PRECISION = 1 << 12, 1 << 22, 256  # bytes


def runs(path: Path, step: Signature, arena: int) -> bool:
    """Return whether one step of the artefact runs in an arena of so many bytes."""
    runtime = require("tflite_micro.python.tflite_micro.runtime", "conformance")
    try:
        interpreter = runtime.Interpreter.from_file(str(path), arena_size=arena)
        for index, spec in enumerate(step.inputs):
            interpreter.set_input(spec.initial(), index)
        interpreter.invoke()
    except RuntimeError:  # the arena is too small
        return False
    return True


def find_arena(path: Path, step: Signature) -> int:
    """Return the bytes of the smallest arena, to PRECISION.

    Raises:
        ValueError: the artefact does not run in LARGEST bytes.
    """
    low, high = SMALLEST, LARGEST
    if not runs(path, step, high):
        raise ValueError(f"{path}: does not run in {high} bytes; an operation may be missing")
    while high - low > PRECISION:
        middle = (low + high) // 2
        low, high = (low, middle) if runs(path, step, middle) else (middle, high)
    return high


def main() -> None:
    """Print a row for each artefact."""
    print("| artefact | file | contract in it | arena | states | MAC of a step |")
    print("|---|---:|---:|---:|---:|---:|")
    for path in map(Path, sys.argv[1:]):
        contract = open_runtime(path).contract
        step = contract.signature("step")
        states = sum(int(np.prod(spec.shape)) * np.dtype(spec.dtype).itemsize for spec in step.states())
        sizes = (path.stat().st_size, len(contract.dumps().encode()), find_arena(path, step), states)
        cells = " | ".join(f"{size / 1000:.0f} KB" for size in sizes)
        print(f"| `{path.name}` | {cells} | {contract.macs['step'] / 1e6:.1f} M |")


if __name__ == "__main__":
    main()
