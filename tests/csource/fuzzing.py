"""Fuzzes a stream in C with libFuzzer: python tests/csource/fuzzing.py [ARGUMENT OF LIBFUZZER …]."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).parents[1])

import numpy as np

from csource.build import STRICT, join, make_contract, stream_parts
from edge_asc.detection.rules import EventRules
from edge_asc.frontend import FrontEnd
from edge_asc.rule import DecisionRule
from edge_asc.unknown import UnknownRule

HARNESS = Path(__file__).with_name("fuzz.c")
SANITIZERS = "-fsanitize=fuzzer,address,undefined"


def harness_source() -> str:
    """Return a small artefact with the harness behind it."""
    front_end = FrontEnd(window=128, hop=48, mels=8)
    front_end = front_end.with_normalisation(np.full(8, -9.0), np.full(8, 0.3))
    contract = make_contract(
        front_end,
        live=DecisionRule("sticky", 1000.0, 0.17),
        events=EventRules(threshold=0.4, thresholds={"wind": 0.3}, minimum=0.05, maximum=1.0, ignored=("other",)),
        unknown=UnknownRule("other", 0.3, 0.05),
    )
    return join(stream_parts(contract), HARNESS.read_text())


def build_fuzzer(folder: Path, cc: str) -> tuple[Path, str]:
    """Compile libFuzzer's program; return it, and what the compiler says."""
    file, program = folder / "fuzz.c", folder / "fuzz"
    file.write_text(harness_source())
    command = [cc, *STRICT, "-O1", "-g", SANITIZERS, "-fno-sanitize-recover=all", str(file), "-o", str(program)]
    return program, subprocess.run(command, capture_output=True, text=True).stderr


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        built, output = build_fuzzer(Path(temporary), os.environ.get("CC", "clang"))
        if not built.exists():
            sys.exit(output)
        sys.exit(subprocess.run([built, *sys.argv[1:]]).returncode)
