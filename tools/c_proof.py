"""Prove that int8 models as C compute the integers that LiteRT computes, bit by bit, on recordings.

    python tools/c_proof.py DATA [--models fuse,bcresnet] [--processors cortex-m55] [--every 8]

LiteRT computes logits and states of each step. Programs in C compute the same steps: on this machine with each of its
kernels, and on emulated Cortex-A72 and A76, with gcc and clang and each level of optimisation; and on Cortex-M4, M7 and
M55 with gcc. Each prints how many values differ: a byte of a state, or a logit
by more than 1e-5, since the output layer computes in float. The exit status is 1 if any does.

Slow programs take a share of the recordings, which is printed. What is not installed, or what this processor lacks, is
left out, and printed as well.
"""

from __future__ import annotations

import argparse
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from edge_asc.data.recordings import Recordings
from edge_asc.engine import open_runtime
from edge_asc.engines.c import read_c_contract
from edge_asc.frontend import Array, LogMel
from edge_asc.loop import Loop
from edge_asc.training.checkpoint import Checkpoint
from edge_asc.zoo import find_checkpoint, zoo
from edge_asc_arm.board import BOARDS
from edge_asc_arm.processor import MICROCONTROLLERS, SOURCES, Processor, compile_program, fill, run_program
from edge_asc_export.artefact import Draft, write
from edge_asc_export.c.file import CFile
from edge_asc_export.plan import Plan
from edge_asc_export.scheme import SCHEMES

# Kernels of x86-64, the flags that choose them, and what the processor must have.
NATIVE = {
    "avx512": (("-mavx512f", "-mavx512bw", "-mavx512vl", "-mavx512vnni"), "avx512_vnni"),
    "avx2": (("-mavx2",), "avx2"),
    "portable": (("-DEDGE_ASC_PORTABLE",), ""),
}
# One recording of so many, for programs of three speeds.
ALL, SOME, FEW = 1, 8, 64
LEVELS = ("-O0", "-O1", "-O2", "-O3")


@dataclass(frozen=True)
class Proof:
    """One program to run.

    Attributes:
        processor: with the compiler.
        level: of optimisation.
        every: one recording of so many.
    """

    processor: Processor
    level: str
    every: int

    @property
    def title(self) -> str:
        """The processor, the compiler and the level."""
        return f"{self.processor.name}, {self.processor.compiler[0]} {self.level}"


def main() -> None:
    """Print a line for each model and program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="DATA", help="folder of recordings")
    parser.add_argument("--models", default=",".join(zoo()), help="names with commas between [%(default)s]")
    parser.add_argument("--every", type=int, default=ALL, metavar="N", help="take one recording of N at most")
    parser.add_argument("--processors", default="", help="names with commas, or of kernels of x86-64 [all]")
    options = parser.parse_args()
    recordings = Recordings.open(options.data)
    chosen = options.processors.split(",") if options.processors else []
    known = {each.processor.name for each in list_proofs("fuse")}
    if unknown := set(chosen) - known:
        parser.error(f"unknown processor {min(unknown)!r}; expected some of {', '.join(sorted(known))}")
    differing, compared = 0, 0
    for model in options.models.split(","):
        proofs = [each for each in list_proofs(model) if not chosen or each.processor.name in chosen]
        proofs = [replace(each, every=max(each.every, options.every)) for each in proofs]
        with tempfile.TemporaryDirectory() as folder:
            for wrong, values in prove(model, proofs, recordings, Path(folder)):
                differing, compared = differing + wrong, compared + values
    print(f"{differing} of {compared:,} values differ")
    sys.exit(differing > 0 or compared == 0)


def prove(model: str, proofs: Sequence[Proof], recordings: Recordings, folder: Path) -> Iterator[tuple[int, int]]:
    """Run programs of a model; yield how many values differ, and how many were compared."""
    checkpoint = Checkpoint.load(find_checkpoint(model))
    artefact, tflite = write_artefacts(checkpoint, folder)
    counts = write_vectors(artefact, tflite, recordings, folder, {each.every for each in proofs})
    contract = read_c_contract(artefact, artefact.read_bytes())
    sizes = (int(np.prod(spec.shape)) for spec in contract.signature("step").states())
    main, states = folder / "compare.c", sum(sizes)
    main.write_text(fill((SOURCES / main.name).read_text(), artefact))
    for proof in proofs:
        if missing := find_missing(proof.processor):
            print(f"{artefact.stem}: {proof.title}: left out, {missing}", flush=True)
            continue
        flags = [proof.level, f"-DSTATE_BYTES={states}", f'-DVECTORS="{name_vectors(proof.every)}"']
        program = compile_program(proof.processor, artefact, main, folder, flags)
        wrong, _, compared = run_program(proof.processor, program, folder).strip().partition(" of ")
        taken, steps = counts[proof.every]
        seen = f"{taken} recordings, {steps} steps: {wrong} of {int(compared):,} values differ"
        print(f"{artefact.stem}: {proof.title}: {seen}", flush=True)
        yield int(wrong), int(compared)


def list_proofs(model: str) -> Iterator[Proof]:
    """Yield the programs of a model. Without optimisation, and emulated, a program takes fewer recordings."""
    for level in LEVELS:
        for name, (flags, _) in NATIVE.items() if platform.machine() == "x86_64" else ():
            for compiler in ("gcc", "clang"):
                yield Proof(Processor(name, (compiler, *flags), ()), level, SOME if level == "-O0" else ALL)
        for board in BOARDS.values():
            gcc = Processor.of_board(board)
            clang = ("clang", "--target=aarch64-linux-gnu", *gcc.compiler[1:])
            for processor in (gcc, replace(gcc, compiler=clang)):
                share = ALL if model == "fuse" else SOME
                yield Proof(processor, level, FEW if level == "-O0" else share)
    for processor in MICROCONTROLLERS:
        for level in ("-Os", "-O2", "-O3"):
            yield Proof(processor, level, FEW)


def find_missing(processor: Processor) -> str:
    """Return what this machine lacks to run programs of a processor; "" if it lacks nothing."""
    for tool in processor.tools:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    needed = NATIVE[processor.name][1] if processor.name in NATIVE else ""
    if needed and needed not in Path("/proc/cpuinfo").read_text().split():
        return f"this processor has no {needed}"
    return ""


def write_artefacts(checkpoint: Checkpoint, folder: Path) -> tuple[Path, Path]:
    """Write a model in int8 as C, with its header, and as TFLite."""
    draft = Draft(checkpoint, "", Plan.from_json(checkpoint.quantisation).with_scheme(SCHEMES["int8"]))
    paths = []
    for name in ("c", "tflite"):
        (artefact,) = write(draft, name)
        path = folder / artefact.name
        path.write_bytes(artefact.data)
        paths.append(path)
        if isinstance(artefact.written, CFile):
            path.with_suffix(".h").write_text(artefact.written.header(artefact.contract))
    return paths[0], paths[1]


def write_vectors(
    artefact: Path, tflite: Path, recordings: Recordings, folder: Path, shares: set[int]
) -> dict[int, tuple[int, int]]:
    """Write features, logits and states by LiteRT, a file for each share; return its recordings and steps."""
    contract = read_c_contract(artefact, artefact.read_bytes())
    states = [spec.name for spec in contract.signature("step").states()]
    log_mel, loop = LogMel(contract.front_end), open_runtime(tflite).loop("step")
    counts = dict.fromkeys(shares, (0, 0))
    with ExitStack() as stack:
        files = {share: stack.enter_context((folder / name_vectors(share)).open("wb")) for share in shares}
        for index, samples in enumerate(recordings.samples(contract.front_end.sample_rate)):
            taking = [share for share in shares if index % share == 0]
            if not taking:
                continue
            steps = list(compute_steps(loop, log_mel(samples), states))
            for share in taking:
                files[share].write(b"".join(steps))
                counts[share] = counts[share][0] + 1, counts[share][1] + len(steps)
    return counts


def compute_steps(loop: Loop, frames: Array, states: Sequence[str]) -> Iterator[bytes]:
    """Yield what the file has of each step of a recording."""
    loop.reset()
    size = loop.source.shape[1]
    for begin in range(0, len(frames) - size + 1, size):
        features = frames[begin : begin + size].astype("<f4")
        logits = loop.feed(features.reshape(loop.source.shape))
        now = loop.state
        values = (features, logits.astype("<f4"), *(now[name] for name in states))
        yield b"".join((np.int32(begin == 0).tobytes(), *(np.ascontiguousarray(value).tobytes() for value in values)))


def name_vectors(share: int) -> str:
    """Return the name of a file of steps."""
    return f"vectors-{share}.bin"


if __name__ == "__main__":
    main()
