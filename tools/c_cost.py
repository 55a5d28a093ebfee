"""Count what a C artefact costs: instructions of a decision on aarch64 and Cortex-M, and memory of a Cortex-M7.

    python tools/c_cost.py FILE.c...

The header is beside each file. It needs aarch64-linux-gnu-gcc and qemu-aarch64, and arm-none-eabi-gcc with newlib and
qemu-system-arm; both emulators with plugins.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edge_asc.engines.c import read_c_contract
from edge_asc.tool import CommandLine, run_tool
from edge_asc_arm.processor import MICROCONTROLLERS, PROCESSORS, Processor, fill
from edge_asc_arm.program import count_program

MEMORY = PROCESSORS["cortex-m7"]
STREAM = '#include "prefix.h"\nchar stream[sizeof(prefix_stream)];\n'


def main() -> None:
    """Print a line for each file and processor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.c")
    for path in parser.parse_args().files:
        contract = read_c_contract(path, path.read_bytes())
        with tempfile.TemporaryDirectory() as folder:
            for processor in PROCESSORS.values():
                engine, counts = count_program(processor, path, Path(folder) / processor.name)
                whole, network = counts.total / 1e6, counts.model / 1e6
                line = f"{path.name}: {processor.name}: {whole:.2f} M instructions, the network {network:.2f} M"
                if processor in MICROCONTROLLERS:
                    line += f"; {whole / contract.step_seconds:.0f} MHz at one in a cycle"
                print(f"{line} ({engine})")
            flash, scratch, stream = measure_memory(MEMORY, path.resolve(), Path(folder))
            print(f"{path.name}: {MEMORY.name}: {flash} bytes of flash, RAM {stream} a stream and {scratch} for all")


def measure_memory(processor: Processor, path: Path, folder: Path) -> tuple[int, int, int]:
    """Return bytes of flash, of the static scratch memory, and of a stream."""
    (folder / "memory.c").write_text(fill(STREAM, path))
    sizes = []
    for source in (path, folder / "memory.c"):
        target = folder / "memory.o"
        flags: CommandLine = [processor.optimisation, "-std=c99", "-I", path.parent, "-c", source, "-o", target]
        run_tool([*processor.compiler, *flags], f"{path}: not compiled for {processor.name}")
        printed = run_tool(["arm-none-eabi-size", target], f"{path}: no sizes")
        sizes.append([int(number) for number in printed.splitlines()[1].split()[:3]])
    (text, data, bss), (_, _, stream) = sizes
    return text + data, bss, stream


if __name__ == "__main__":
    main()
