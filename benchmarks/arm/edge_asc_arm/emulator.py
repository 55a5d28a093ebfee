"""The emulator: runs the guest program on this machine, or as aarch64 code on an emulated board."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from edge_asc.children import make_environment
from edge_asc.data.cache import default_cache
from edge_asc.data.scenes import generate_scene
from edge_asc.errors import EdgeAscError
from edge_asc.frontend import Array, FrontEnd, LogMel
from edge_asc.scratch import scratch_folder
from edge_asc.tool import run_tool
from edge_asc_arm.board import PYTHON, Board, site_packages
from edge_asc_arm.guest import AUDIO, FEATURES, Report
from edge_asc_bench.remote.archive import write_archive

# The emulator that loads plugins; Debian's static one does not.
QEMU = "qemu-aarch64"
# Versions of QEMU with version 1 of the plugin interface.
OLDEST_QEMU, NEWEST_QEMU = [4, 2], [8, 1]
SECONDS = 11
ARCHIVE = "guest.zip"


@dataclass(frozen=True)
class GuestMachine:
    """A machine that runs the guest program.

    Attributes:
        board: the emulated board; None for this machine itself.
        root: folder of the board's system.
    """

    board: Board | None = None
    root: Path | None = None

    @property
    def name(self) -> str:
        """QEMU's name of the processor; "here" for this machine."""
        return self.board.cpu if self.board else "here"


@contextmanager
def prepare_inputs(artefacts: Sequence[Path], front_end: FrontEnd) -> Iterator[tuple[Path, Array]]:
    """Write the guest's program, its inputs and the artefacts to a folder, which is removed with the context.

    Args:
        artefacts: copied to the folder under their index.
        front_end: of all artefacts.

    Yields:
        The folder, and the features in it: raw log-mel of a generated scene, (frames, mels).
    """
    with scratch_folder() as folder:
        audio = generate_scene("park", 1, SECONDS)
        features = LogMel(front_end.raw)(audio)
        np.save(folder / AUDIO, audio)
        np.save(folder / FEATURES, features)
        write_archive(folder / ARCHIVE, ("edge_asc", "edge_asc_arm"))
        for i, path in enumerate(artefacts):
            shutil.copyfile(path, folder / f"{i}{path.suffix}")
        yield folder, features


def run_guest(
    machine: GuestMachine,
    inputs: Path,
    output: Path,
    action: str,
    artefacts: Sequence[Path],
    counts: Path | None = None,
) -> Report:
    """Run the guest program, and return its report.

    Args:
        machine: to run on.
        inputs: folder of `prepare_inputs`.
        output: folder for its results, created.
        action: a name in `edge_asc_arm.guest.ACTIONS`.
        artefacts: those of `prepare_inputs`.
        counts: file for each mark and the instructions executed before it; on emulated boards only.

    Raises:
        EdgeAscError: the emulator is not installed, or the program fails.
    """
    output.mkdir(parents=True)
    for path in inputs.iterdir():
        (output / path.name).symlink_to(path)
    variables = {"PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    program = ["-P", "-B", "-m", "edge_asc_arm.guest", action, str(output)]
    program += [str(output / f"{i}{path.suffix}") for i, path in enumerate(artefacts)]
    failure = f"{machine.name}: the program on it failed"
    if machine.board is None or machine.root is None:
        run_tool([sys.executable, *program], failure, environment=make_environment(variables))
        return Report.read(output)
    if shutil.which(QEMU) is None:
        raise EdgeAscError(f"{QEMU} is not installed; run: sudo apt install qemu-user")
    variables["PYTHONPATH"] = f"{inputs / ARCHIVE}:{site_packages(machine.root)}"
    command = [QEMU, "-cpu", machine.board.cpu, "-L", str(machine.root)]
    if counts is not None:
        command += ["-plugin", f"{compile_plugin()},out={counts}"]
    command += [argument for name, value in variables.items() for argument in ("-E", f"{name}={value}")]
    command += [str(machine.root / f"usr/bin/python{PYTHON}"), *program]
    # The environment takes part in the counts, so it holds nothing of this machine's but the path.
    run_tool(command, failure, environment={"PATH": os.environ["PATH"], "HOME": str(output)})
    return Report.read(output)


def compile_plugin() -> Path:
    """Return QEMU's counting plugin; compile it if it is not in the cache.

    Raises:
        EdgeAscError: no C compiler is installed, or QEMU has another plugin interface.
    """
    text = run_tool([QEMU, "--version"], f"{QEMU} does not start")
    version = [int(part) for part in re.findall(r"\d+", text.partition("version")[2])[:2]]
    if not OLDEST_QEMU <= version <= NEWEST_QEMU:
        raise EdgeAscError(
            f"{QEMU} is version {'.'.join(map(str, version))}, which has another plugin interface; expected 4.2 to "
            "8.1, such as Debian 12's 7.2"
        )
    source = (files("edge_asc_arm") / "sources" / "icount.c").read_text()
    path = default_cache() / "arm" / f"icount-{hashlib.sha256(source.encode()).hexdigest()[:12]}.so"
    if path.exists():
        return path
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise EdgeAscError("no C compiler for the counting plugin; run: sudo apt install gcc")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as temporary:
        code, library = Path(temporary) / "icount.c", Path(temporary) / path.name
        code.write_text(source)
        run_tool([compiler, "-shared", "-fPIC", "-O2", code, "-o", library], "the counting plugin cannot be compiled")
        library.replace(path)
    return path
