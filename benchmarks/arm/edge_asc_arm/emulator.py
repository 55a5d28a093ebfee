"""Runs the guest program: here, or as aarch64 code on an emulated board."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from edge_asc_bench.targets.remote import last_line, write_runner

from edge_asc.data.cache import default_cache
from edge_asc.data.scenes import generate_scene
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc_arm.board import PYTHON, Board, call, site
from edge_asc_arm.guest import AUDIO, FEATURES, REPORT, TASK

# The emulator that takes plugins; Debian's static one does not.
QEMU = "qemu-aarch64"
# Those with version 1 of the plugin interface.
OLDEST_QEMU, NEWEST_QEMU = [4, 2], [8, 1]
SECONDS = 11


@dataclass(frozen=True)
class Machine:
    """Where the guest program runs.

    Attributes:
        board: that is emulated; None for this machine itself.
        root: of the board's system.
    """

    board: Board | None = None
    root: Path | None = None

    @property
    def name(self) -> str:
        """Of the processor."""
        return self.board.cpu if self.board else "here"


@contextmanager
def prepared(artefacts: Sequence[Path], front_end: FrontEnd) -> Iterator[tuple[Path, Array]]:
    """A folder with the guest's inputs, and the features in it: raw log-mel of a scene."""
    with tempfile.TemporaryDirectory(prefix="edge-asc-arm-") as temporary:
        folder = Path(temporary)
        audio = generate_scene("park", 1, SECONDS)
        features = LogMel(front_end.raw)(audio)
        np.save(folder / AUDIO, audio)
        np.save(folder / FEATURES, features)
        write_runner(folder / "guest.zip", ("edge_asc", "edge_asc_arm"))
        for i, path in enumerate(artefacts):
            shutil.copyfile(path, folder / f"{i}{path.suffix}")
        yield folder, features


def run(
    machine: Machine, inputs: Path, output: Path, do: str, artefacts: Sequence[Path], counts: Path | None = None
) -> dict[str, Any]:
    """Have the guest do something with artefacts; what it reports.

    Args:
        machine: where.
        inputs: folder of `prepared`.
        output: folder for what it writes.
        do: "hear" or "count".
        artefacts: those that were prepared.
        counts: file that marks are written to, with the instructions executed until then; emulated boards only.

    Raises:
        EdgeAscError: the emulator is missing, or the program failed.
    """
    output.mkdir(parents=True)
    for path in inputs.iterdir():
        (output / path.name).symlink_to(path)
    names = [str(output / f"{i}{path.suffix}") for i, path in enumerate(artefacts)]
    (output / TASK).write_text(json.dumps({"do": do, "artefacts": names}))
    variables = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    program = ["-B", "-m", "edge_asc_arm.guest", str(output)]
    if machine.board is None:
        command, environment = [sys.executable, *program], {**os.environ, **variables}
    else:
        assert machine.root is not None
        if shutil.which(QEMU) is None:
            raise EdgeAscError(f"{QEMU} is not installed; run: sudo apt install qemu-user")
        variables["PYTHONPATH"] = f"{inputs / 'guest.zip'}:{site(machine.root)}"
        command = [QEMU, "-cpu", machine.board.cpu, "-L", str(machine.root)]
        if counts is not None:
            command += ["-plugin", f"{_plugin()},out={counts}"]
        command += [argument for name, value in variables.items() for argument in ("-E", f"{name}={value}")]
        command += [str(machine.root / f"usr/bin/python{PYTHON}"), *program]
        environment = {"PATH": os.environ["PATH"], "HOME": str(output)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode:
        said = last_line(done.stderr) or "no output"
        raise EdgeAscError(f"{machine.name}: the program ended with exit code {done.returncode}: {said}")
    found: dict[str, Any] = json.loads((output / REPORT).read_text())
    return found


def _plugin() -> Path:
    """The counting plugin, compiled where it is not in the cache.

    Raises:
        EdgeAscError: no compiler, or a QEMU with another plugin interface.
    """
    told = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=True).stdout
    number = [int(part) for part in re.findall(r"\d+", told.partition("version")[2])[:2]]
    if not OLDEST_QEMU <= number <= NEWEST_QEMU:
        raise EdgeAscError(
            f"instructions are counted with QEMU 4.2 to 8.1, such as Debian 12's 7.2; {QEMU} here is "
            f"{'.'.join(map(str, number))}, whose plugins are others"
        )
    source = (files("edge_asc_arm") / "icount.c").read_text()
    path = default_cache() / "arm" / f"icount-{hashlib.sha256(source.encode()).hexdigest()[:12]}.so"
    if path.exists():
        return path
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise EdgeAscError("no C compiler for the counting plugin; run: sudo apt install gcc")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        code, built = Path(temporary) / "icount.c", Path(temporary) / path.name
        code.write_text(source)
        call([compiler, "-shared", "-fPIC", "-O2", str(code), "-o", str(built)], "the counting plugin does not compile")
        built.replace(path)
    return path
