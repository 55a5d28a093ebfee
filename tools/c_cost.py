"""Count what a C artefact costs: aarch64 instructions of a decision and its network, flash and RAM of a Cortex-M7.

    python tools/c_cost.py FILE.c...

The header is beside each file. It needs aarch64-linux-gnu-gcc, qemu-aarch64 with plugins, and arm-none-eabi-gcc.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from edge_asc.engines.c import read_c_contract
from edge_asc.tool import CommandLine, run_tool
from edge_asc_arm.emulator import compile_plugin
from edge_asc_export.c.file import prefix_of, stem_of

PROCESSORS = {"cortex-a76": "neoverse-n1", "cortex-a72": "cortex-a72"}
DECISIONS = 5
# A marker is a system call that fails, and that the plugin knows.
PROGRAM = """
#include "STEM.h"
#include <sys/syscall.h>
#include <unistd.h>
static PREFIX_stream stream;
static PREFIX_states states;
static int16_t samples[UPPER_STEP];
static float features[UPPER_FRAMES * UPPER_MELS], logits[UPPER_CLASSES];
int main(void)
{
    uint32_t seed = 1;
    PREFIX_init(&stream, NULL, NULL);
    PREFIX_reset_states(&states);
    for (int k = 0; k < DECISIONS; k++) {
        for (int i = 0; i < UPPER_STEP; i++) {
            seed = seed * 1664525u + 1013904223u;
            samples[i] = (int16_t)((int32_t)(seed >> 18) - 8192);
        }
        syscall(SYS_getpriority, 0xEA5C, 0);
        PREFIX_push(&stream, samples, UPPER_STEP);
        syscall(SYS_getpriority, 0xEA5C, 1);
        PREFIX_step(&states, features, logits);
        syscall(SYS_getpriority, 0xEA5C, 2);
    }
    return 0;
}
"""
MEMORY = '#include "STEM.h"\nchar stream[sizeof(PREFIX_stream)];\n'


def main() -> None:
    """Print a line for each file and processor."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE.c")
    for path in parser.parse_args().files:
        with tempfile.TemporaryDirectory() as folder:
            for processor, emulated in PROCESSORS.items():
                whole, network = count_instructions(path.resolve(), Path(folder), processor, emulated)
                print(f"{path.name}: {processor}: {whole / 1e6:.2f} M instructions, the network {network / 1e6:.2f} M")
            flash, scratch, stream = measure_memory(path.resolve(), Path(folder))
            print(f"{path.name}: cortex-m7: {flash} bytes of flash, RAM {stream} a stream and {scratch} for all")


def fill(template: str, path: Path) -> str:
    """Return a program for an artefact."""
    contract = read_c_contract(path, path.read_bytes())
    prefix = prefix_of(contract)
    text = template.replace("STEM", stem_of(contract)).replace("PREFIX", prefix).replace("UPPER", prefix.upper())
    return text.replace("DECISIONS", str(DECISIONS))


def count_instructions(path: Path, folder: Path, processor: str, emulated: str) -> tuple[int, int]:
    """Return the instructions of the last decision, from samples to the answer, and of the last step alone."""
    (folder / "main.c").write_text(fill(PROGRAM, path))
    failure = f"{path}: not compiled for {processor}"
    flags: CommandLine = ["-O3", f"-mcpu={processor}", "-std=gnu99", "-static", "-I", path.parent]
    run_tool(["aarch64-linux-gnu-gcc", *flags, path, folder / "main.c", "-o", folder / "main"], failure)
    counts = folder / f"{processor}.counts"
    plugin = f"{compile_plugin()},out={counts}"
    run_tool(["qemu-aarch64", "-cpu", emulated, "-plugin", plugin, folder / "main"], f"{path}: does not run")
    start, pushed, stepped = (int(line.split()[1]) for line in counts.read_text().splitlines()[-3:])
    return pushed - start, stepped - pushed


def measure_memory(path: Path, folder: Path) -> tuple[int, int, int]:
    """Return bytes of flash, of the static scratch memory, and of a stream, on a Cortex-M7."""
    (folder / "memory.c").write_text(fill(MEMORY, path))
    processor = ["-mcpu=cortex-m7", "-mthumb", "-mfloat-abi=hard", "-mfpu=fpv5-d16"]
    flags: CommandLine = ["-O2", "-std=c99", *processor, "-I", path.parent]
    sizes = []
    for source in (path, folder / "memory.c"):
        target = folder / "memory.o"
        run_tool(["arm-none-eabi-gcc", *flags, "-c", source, "-o", target], f"{path}: not compiled for cortex-m7")
        printed = run_tool(["arm-none-eabi-size", target], f"{path}: no sizes")
        sizes.append([int(number) for number in printed.splitlines()[1].split()[:3]])
    (text, data, bss), (_, _, stream) = sizes
    return text + data, bss, stream


if __name__ == "__main__":
    main()
