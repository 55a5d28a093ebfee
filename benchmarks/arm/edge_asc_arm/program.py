"""A program around a C artefact that counts the instructions of its decisions."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from edge_asc.data.scenes import generate_scene
from edge_asc.engines.c import ENGINE, read_c_contract
from edge_asc.frontend import LogMel
from edge_asc.tensors import INT16, to_int16
from edge_asc_arm.emulator import SECONDS
from edge_asc_arm.guest import DECISIONS, WARM_UP
from edge_asc_arm.marks import count_program_parts, read_marks
from edge_asc_arm.processor import SOURCES, Processor, compile_program, fill, read_compiler_version, run_program
from edge_asc_bench.result import Instructions


def is_program(artefact: Path) -> bool:
    """Return whether an artefact is a program of its own, which no interpreter runs."""
    return ENGINE.accepts(artefact)


def count_program(processor: Processor, artefact: Path, folder: Path) -> tuple[str, Instructions]:
    """Compile a C artefact and count the instructions of a decision on the scene that other artefacts are counted on.

    Args:
        processor: to compile for and to emulate.
        artefact: the C file, with its header beside it.
        folder: for the program.

    Returns:
        The compiler as the engine, with its version, and the counts.

    Raises:
        EdgeAscError: a tool is missing or fails.
    """
    folder = folder / artefact.stem
    folder.mkdir(parents=True)
    front_end = read_c_contract(artefact, artefact.read_bytes()).front_end
    samples = to_int16(generate_scene("park", 1, SECONDS))
    samples.astype("<i2").tofile(folder / "samples.bin")
    LogMel(front_end)(samples * np.float32(INT16.scale)).astype("<f4").tofile(folder / "features.bin")
    main, counts = folder / "main.c", folder / "counts.txt"
    main.write_text(fill((SOURCES / "cost.c").read_text(), artefact))
    flags = [processor.optimisation, f"-DWARM_UP={WARM_UP}", f"-DDECISIONS={DECISIONS}"]
    run_program(processor, compile_program(processor, artefact.resolve(), main, folder, flags), folder, counts)
    engine = f"c {processor.compiler[0]} {read_compiler_version(processor)}"
    return engine, count_program_parts(read_marks(counts))
