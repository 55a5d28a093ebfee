"""Calls of a stream in C, in a program of bytes (csource/fuzz.c): samples of any kind, divided in two ways."""

from __future__ import annotations

import ctypes
import shutil
import struct
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from csource.build import STRICT
from csource.fuzzing import harness_source
from edge_asc.errors import EdgeAscError
from fuzz.target import Seeds, Target


def seeds(folder: Path) -> Seeds:
    """Return long pushes, short ones, and resets between them."""
    sizes = (0, 1, 47, 48, 49, 383, 384, 385, 5000)
    return {
        "kinds.bin": b"".join(struct.pack("<HBB", 3000, kind, 40 * kind) for kind in range(6)),
        "sizes.bin": b"".join(struct.pack("<HBB", size, 0, 3) for size in sizes),
        "resets.bin": b"".join(struct.pack("<HBB", 2000, kind, 5) for kind in (0, 245, 1, 255, 0, 240)),
    }


@cache
def load() -> ctypes.CDLL:
    """Compile the harness with checks of undefined behaviour, which end the process."""
    compiler = shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        raise EdgeAscError("no C compiler; install gcc or clang")
    with tempfile.TemporaryDirectory() as folder:
        file, library = Path(folder) / "fuzz.c", Path(folder) / "fuzz.so"
        file.write_text(harness_source())
        checks = ("-fsanitize=undefined", "-fno-sanitize-recover=all")
        subprocess.run([compiler, *STRICT, "-O2", *checks, "-shared", "-fPIC", file, "-o", library], check=True)
        loaded = ctypes.CDLL(str(library))
        loaded.toy_fuzz.restype = ctypes.c_uint32
        return loaded


def read(path: Path) -> str:
    data = path.read_bytes()
    return f"{load().toy_fuzz(data, ctypes.c_size_t(len(data))):08x}"


TARGET = Target(seeds, read, other_answers=True)
