"""C artefacts as WebAssembly, compiled by clang, for browsers and Node.

The file exports the functions of `sources/wasm.c` and imports nothing. A custom section holds its contract, sealed as
that of every artefact.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from edge_asc.contract import METADATA_KEY
from edge_asc.engines.c import TIMEOUT, read_c_contract
from edge_asc.errors import ExportError
from edge_asc.seal import seal
from edge_asc.tool import CommandLine, run_tool
from edge_asc_export.c.file import dump_contract, name_program
from edge_asc_export.c.template import read_text

TOOLS = ("clang", "wasm-ld")
# Vectors of 128 bits, and instructions in place of memcpy and memset: since 2021, in Safari since 2023.
TARGET = ("--target=wasm32", "-msimd128", "-mbulk-memory")
# Engines gain nothing from unrolled loops, which take a sixth of the code of BC-ResNet.
OPTIMISE = ("-O3", "-fno-unroll-loops")
# Without libraries and main(); a stack that overflows is an error of its own.
LINK = ("-nostdlib", "-Wl,--no-entry", "-Wl,--strip-all", "-Wl,--stack-first")


def check_tools() -> None:
    """Make sure that clang and its linker for WebAssembly are installed.

    Raises:
        ExportError: one of them is not.
    """
    for tool in TOOLS:
        if shutil.which(tool) is None:
            raise ExportError(f"{tool} is not installed; WebAssembly needs clang and lld: apt-get install clang lld")


def compile_wasm(path: Path) -> bytes:
    """Return the C artefact at `path` as a WebAssembly module; its header is beside it.

    Raises:
        ContractError: no contract in the file.
        ExportError: clang is not installed.
        EdgeAscError: clang fails.
    """
    check_tools()
    contract = read_c_contract(path, path.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        module, shim = Path(folder) / "module.wasm", Path(folder) / "wasm.c"
        shim.write_text(name_program(read_text("wasm.c"), contract), encoding="utf-8")
        sources: CommandLine = ["-I", path.parent.resolve(), path.resolve(), shim]
        command = ["clang", *TARGET, "-std=c99", *OPTIMISE, *LINK, *sources, "-o", module]
        run_tool(command, f"{path}: cannot be compiled to WebAssembly", whole_output=True, timeout=TIMEOUT)
        return seal(module.read_bytes() + _custom_section(METADATA_KEY, dump_contract(contract).encode()))


def _custom_section(name: str, content: bytes) -> bytes:
    """Return a section that engines leave to programs (WebAssembly Core Specification, 5.5.3)."""
    body = _leb128(len(name)) + name.encode() + content
    return b"\0" + _leb128(len(body)) + body


def _leb128(value: int) -> bytes:
    """Return an unsigned integer in groups of seven bits, the lowest first."""
    groups = bytearray()
    while value > 127:
        groups.append(value & 127 | 128)
        value >>= 7
    return bytes([*groups, value])
