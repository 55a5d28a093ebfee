"""Processors that run C artefacts: each with a cross compiler and an emulator."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from edge_asc.engines.c import read_c_contract
from edge_asc.tool import CommandLine, run_tool
from edge_asc_arm.board import BOARDS, Board
from edge_asc_arm.emulator import QEMU, compile_plugin
from edge_asc_export.c.file import name_program

SOURCES = Path(str(files("edge_asc_arm"))) / "sources"
SYSTEM_QEMU = "qemu-system-arm"
# Files and output of a program without an operating system are those of this machine.
SEMIHOSTING = ("-chardev", "stdio,id=host", "-semihosting-config", "enable=on,chardev=host")
QUIET = ("-display", "none", "-monitor", "none", "-serial", "none")


@dataclass(frozen=True)
class Processor:
    """A processor that a compiler knows and that QEMU emulates.

    Attributes:
        name: of the processor, such as "cortex-m7".
        compiler: the command of a C compiler for it.
        emulator: the command that a program follows; empty for this machine.
        optimisation: level that suits it: on microcontrollers, -O3 takes more flash and hardly fewer instructions.
        memory: bytes for code, and as many for data, such as "512K", where there is no operating system; else "".
    """

    name: str
    compiler: tuple[str, ...]
    emulator: tuple[str, ...]
    optimisation: str = "-O3"
    memory: str = ""

    @classmethod
    def of_board(cls, board: Board) -> Processor:
        """Return the processor of a board, whose programs need nothing of its system."""
        compiler = ("aarch64-linux-gnu-gcc", f"-mcpu={board.cpu}", "-static")
        return cls(board.cpu, compiler, (QEMU, "-cpu", board.cpu))

    @classmethod
    def cortex_m(cls, name: str, machine: str, memory: str, fpu: str = "auto") -> Processor:
        """Return a microcontroller's processor on one of QEMU's boards."""
        compiler = ("arm-none-eabi-gcc", f"-mcpu={name}", "-mthumb", "-mfloat-abi=hard", f"-mfpu={fpu}")
        return cls(name, compiler, (SYSTEM_QEMU, "-M", machine, *QUIET, *SEMIHOSTING, "-kernel"), "-O2", memory)

    @property
    def tools(self) -> tuple[str, ...]:
        """The programs that must be installed."""
        return self.compiler[0], *self.emulator[:1]


MICROCONTROLLERS = (
    Processor.cortex_m("cortex-m4", "mps2-an386", "4M", "fpv4-sp-d16"),
    Processor.cortex_m("cortex-m7", "mps2-an500", "4M", "fpv5-d16"),
    Processor.cortex_m("cortex-m55", "mps3-an547", "512K"),
)
PROCESSORS = {each.name: each for each in (*map(Processor.of_board, BOARDS.values()), *MICROCONTROLLERS)}


def read_compiler_version(processor: Processor) -> str:
    """Return the version of the compiler, such as "12.2.0".

    Raises:
        EdgeAscError: it is not installed.
    """
    text = run_tool([processor.compiler[0], "-dumpfullversion"], f"no version of the compiler for {processor.name}")
    found = re.search(r"\d+(\.\d+)*", text)
    return found[0] if found else "unknown"


def fill(template: str, artefact: Path) -> str:
    """Return a C source with the names of an artefact in the place of those that begin with "prefix" or "PREFIX"."""
    return name_program(template, read_c_contract(artefact, artefact.read_bytes()))


def compile_program(processor: Processor, artefact: Path, main: Path, folder: Path, flags: Sequence[str]) -> Path:
    """Compile a C artefact and a program that uses it.

    Args:
        processor: to compile for.
        artefact: the C file, with its header beside it.
        main: source of the program.
        folder: for the program and what it is made from.
        flags: of the compiler, such as "-O3".

    Raises:
        EdgeAscError: the compiler is missing or fails.
    """
    program = folder / f"{artefact.stem}-{processor.name}"
    sources: CommandLine = [artefact, main]
    link: CommandLine = []
    if processor.memory:
        script = folder / "board.ld"
        script.write_text((SOURCES / "board.ld").read_text().replace("MEMORY_SIZE", processor.memory))
        sources.append(SOURCES / "boot.c")
        link = ["--specs=rdimon.specs", "-nostartfiles", "-ffunction-sections", "-Wl,--gc-sections", "-T", script]
    command = [*processor.compiler, "-std=gnu99", *flags, "-I", artefact.parent, *sources, *link, "-o", program]
    run_tool(command, f"{artefact}: not compiled for {processor.name}", whole_output=True)
    return program


def run_program(processor: Processor, program: Path, folder: Path, counts: Path | None = None) -> str:
    """Run a program in a folder, and return what it prints.

    Args:
        processor: to emulate.
        program: of `compile_program`.
        folder: where it opens files.
        counts: file for each mark and the instructions executed before it; None to count nothing.

    Raises:
        EdgeAscError: the emulator is missing, or the exit status of the program is not 0.
    """
    plugin = ["-plugin", f"{compile_plugin()},out={counts}"] if counts else []
    failure = f"{program.name}: failed on {processor.name}"
    return run_tool(
        [*processor.emulator[:1], *plugin, *processor.emulator[1:], program], failure, folder=folder, whole_output=True
    )
